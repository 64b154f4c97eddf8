"""Which windows of an entity must be allocated again: touched by facts, by inputs, or by time.

Invariant: only windows that overlap hardware periods and have begun are due, and a window that
only time or a slow fact touched is due where it can hold anything at all.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from operator import itemgetter
from typing import TypeAlias

from ledger.domain.parked import Part
from ledger.domain.period import MICROSECOND, WINDOW, Period, window_start, windows

Span: TypeAlias = tuple[datetime, datetime | None]


def windows_due(spans: Iterable[Span], *, within: Sequence[Span], now: datetime) -> set[datetime]:
    """Starts of windows that overlap one of `spans` and one of `within` and began before `now`."""
    return {
        at
        for since, until in _joined(overlaps(spans, within))
        for at in _begun(since, now if until is None else min(until, now))
    }


def _joined(spans: Iterable[Span]) -> list[Span]:
    """The same time in as few spans as there are: many of them reach into one another."""
    joined: list[Span] = []
    for since, until in sorted(spans, key=itemgetter(0)):
        before = joined[-1] if joined else None
        if before is None or (before[1] is not None and before[1] < since):
            joined.append((since, until))
        elif before[1] is not None:
            joined[-1] = (before[0], None if until is None else max(before[1], until))
    return joined


def begun_since(followed_to: datetime, now: datetime) -> list[Span]:
    """The windows that began from `followed_to` on and before `now`, as a span or none."""
    first = window_start(followed_to - MICROSECOND) + WINDOW
    return [(first, now)] if first < now else []


def overlaps(some: Iterable[Span], others: Sequence[Span]) -> list[Span]:
    """What one of `some` and one of `others` cover both."""
    shared = []
    for since, until in some:
        for other_since, other_until in others:
            start = max(since, other_since)
            ends = [moment for moment in (until, other_until) if moment is not None]
            if not ends or start < min(ends):
                shared.append((start, min(ends, default=None)))
    return shared


def cover(some: Sequence[Span], others: Iterable[Span]) -> bool:
    """Whether each of `others` lies inside one of `some`, none of which touch each other.

    >>> day, week, ever = (datetime(2026, 8, d) for d in (7, 3, 1))
    >>> cover([(week, None)], [(day, None)]), cover([(week, day)], [(ever, day)])
    (True, False)
    """
    return all(
        any(
            since <= other_since and (until is None or (other is not None and other <= until))
            for since, until in some
        )
        for other_since, other in others
    )


def chunks(due: Sequence[Part], most: int) -> Iterator[list[Part]]:
    """Parts sorted by window, in runs no longer than `most` windows from first to last."""
    chunk: list[Part] = []
    for part in due:
        if chunk and part[1] - chunk[0][1] >= most * WINDOW:
            yield chunk
            chunk = []
        chunk.append(part)
    if chunk:
        yield chunk


def _begun(since: datetime, until: datetime) -> Iterator[datetime]:
    return windows(Period(since, until)) if since < until else iter(())
