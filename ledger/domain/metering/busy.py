"""Turns attempts into the seconds of a window in which work ran: bit n is second n.

Invariant: masks merge by OR, so batches may come in any order and more than once.
"""

from collections.abc import Iterator
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


def busy_seconds(mask: int) -> int:
    """How many of the 900 seconds are busy."""
    return mask.bit_count()


def runs(mask: int) -> Iterator[tuple[int, int, bool]]:
    """(first second, end second, busy) of each stretch, covering the whole window in order."""
    at = 0
    while at < WINDOW_SECONDS:
        rest = mask >> at
        busy = bool(rest & 1)
        flipped = ~rest if busy else rest
        length = (flipped & -flipped).bit_length() - 1 if flipped else WINDOW_SECONDS - at
        end = min(at + length, WINDOW_SECONDS)
        yield at, end, busy
        at = end
