"""The busy seconds of one attempt, by dates and one attempt at a time."""

from datetime import datetime

from ledger.domain.period import EPOCH, MICROSECOND, WINDOW_SECONDS

_SECOND_US = 1_000_000


def mask_of(start: datetime, end: datetime, window_start: datetime) -> int:
    """Seconds of the window that [start, end) touches; an empty attempt touches its own second."""
    base = (window_start - EPOCH) // MICROSECOND
    first = ((start - EPOCH) // MICROSECOND - base) // _SECOND_US
    last_us = max((end - EPOCH) // MICROSECOND - 1, (start - EPOCH) // MICROSECOND)
    last = (last_us - base) // _SECOND_US
    first, last = max(first, 0), min(last, WINDOW_SECONDS - 1)
    return ((1 << (last - first + 1)) - 1) << first if first <= last else 0
