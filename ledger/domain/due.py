"""Which windows of an entity must be allocated again: touched by facts, by inputs, or by time.

Invariant: only windows that overlap hardware periods and have begun are due.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

WINDOW = timedelta(minutes=15)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Span: TypeAlias = tuple[datetime, datetime | None]


def window_of(moment: datetime) -> datetime:
    """The start of the quarter hour of UTC that holds `moment`."""
    return EPOCH + (moment - EPOCH) // WINDOW * WINDOW


def windows_in(since: datetime, until: datetime) -> Iterator[datetime]:
    """Windows that overlap [since, until), in time order."""
    start = window_of(since)
    while start < until:
        yield start
        start += WINDOW


def windows_touched(
    spans: Iterable[Span], *, within: Iterable[Span], now: datetime
) -> set[datetime]:
    """Windows that overlap one of `spans` and one of `within`, and have begun by `now`."""
    held = list(within)
    found: set[datetime] = set()
    for since, until in spans:
        for held_from, held_to in held:
            last = min(moment for moment in (until, held_to, now) if moment is not None)
            found.update(windows_in(max(since, held_from), last))
    return found
