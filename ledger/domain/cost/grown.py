"""Puts what counters grew by into stretches of time: evenly between two of their readings.

Invariant: over stretches that hold a counter's readings its parts add up to what it grew by.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from ledger.domain.metering.engine_counter import CounterDelta, Labels
from ledger.domain.metering.times import micros

# An instance, and the labels of one of its counters.
Stream: TypeAlias = tuple[str, Labels]
_CERTAIN = frozenset(("", "start_moved"))


@dataclass(frozen=True, slots=True)
class Grown:
    """What each counter grew by in each stretch, and in which every one of them is certain."""

    parts: Mapping[Stream, Sequence[int]]
    known: Sequence[bool]

    @classmethod
    def of(cls, deltas: Iterable[CounterDelta], marks: Sequence[int], unit: int = 1) -> "Grown":
        """Growth of counters of one metric in `unit` parts of one, between each two of `marks`."""
        parts: dict[Stream, list[int]] = {}
        certain: dict[Stream, list[int]] = {}
        for delta in deltas:
            stream = delta.instance, delta.labels
            grown = parts.setdefault(stream, [0] * (len(marks) - 1))
            sure = certain.setdefault(stream, [0] * (len(marks) - 1))
            _pour(delta, marks, unit, grown, sure)
        lengths = [until - since for since, until in pairwise(marks)]
        known = [
            bool(certain) and all(sure[at] == length for sure in certain.values())
            for at, length in enumerate(lengths)
        ]
        return cls(parts, known)

    def total(self, at: int) -> int:
        """What all of them grew by in a stretch."""
        return sum(part[at] for part in self.parts.values())


def _pour(
    delta: CounterDelta, marks: Sequence[int], unit: int, grown: list[int], sure: list[int]
) -> None:
    since, until, whole = micros(delta.since), micros(delta.until), int(delta.delta * unit)
    is_certain = delta.flag in _CERTAIN and not delta.inexact
    at = max(bisect_right(marks, since) - 1, 0)
    while at < len(grown) and marks[at] < until:
        first, last = max(marks[at], since), min(marks[at + 1], until)
        if first < last:
            upto = [whole * (edge - since) // (until - since) for edge in (last, first)]
            grown[at] += upto[0] - upto[1]
            sure[at] += last - first if is_certain else 0
        at += 1
