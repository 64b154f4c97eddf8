"""Which windows of an entity must be allocated again: touched by facts, by inputs, or by time.

Invariant: only windows that overlap hardware periods and have begun are due.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TypeAlias

from ledger.domain.period import Period, windows

Span: TypeAlias = tuple[datetime, datetime | None]


def windows_due(spans: Iterable[Span], *, within: Sequence[Span], now: datetime) -> set[datetime]:
    """Starts of windows that overlap one of `spans` and one of `within` and began before `now`."""
    found: set[datetime] = set()
    for since, until in spans:
        for held_from, held_to in within:
            start = max(since, held_from)
            end = min(moment for moment in (until, held_to, now) if moment is not None)
            if start < end:
                found.update(windows(Period(start, end)))
    return found
