"""Tells apart the two passes of a local hour that the clocks showed twice, by the order of rows.

A file without offsets holds such an hour twice, in an order of its own: forwards, backwards, newest
day first. Which pass came first is read off the rows around it; where they do not say, it is
refused, because prices exchanged between two hours are never noticed.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from ledger.domain.errors import InvalidInputError

# Neighbours further apart than this are of other days: how far says nothing about their order.
NEAR = timedelta(hours=3)
WAY_OUT = "Name a column of times with offsets"


@dataclass(frozen=True, slots=True)
class LocalTime:
    """A row's local time as the file has it, and the instants (one or two, in order) it can be."""

    line: int
    text: str
    instants: tuple[datetime, ...]


@dataclass(frozen=True, slots=True)
class Repeated:
    """A stretch of local time that was there twice, and the lines taken for each pass of it.

    `interleaved`: the rows stand in pairs, as sorting by text leaves them.
    """

    first: tuple[LocalTime, ...]
    second: tuple[LocalTime, ...]
    interleaved: bool

    def __str__(self) -> str:
        how = " (the rows stand in pairs, and so the order within a pair decides)"
        return (
            f"The local time from {self.first[0].text} exists twice: {_lines(self.first)} taken as"
            f" its first pass, {_lines(self.second)} as its second"
            f"{how if self.interleaved else ''}."
        )


def tell_apart(
    times: Sequence[LocalTime], *, lone_fold: int | None = None
) -> tuple[list[datetime], list[Repeated]]:
    """The instant of every row, and what was told apart; `lone_fold` decides lone times (0 or 1).

    InvalidInputError where a time stands alone and `lone_fold` does not say which it is, where more
    rows than instants share a time, and where the order of the rows does not decide.
    """
    _refuse_more_rows_than_instants(times)
    instants = [time.instants[0] for time in times]
    repeats = []
    for stretch in _stretches(times):
        pairs = _pairs(times, stretch, lone_fold)
        for index in stretch:
            instants[index] = times[index].instants[lone_fold or 0]
        if pairs:
            repeated, swapped = _decide(times, instants, pairs)
            for left, right in pairs:
                first, second = (right, left) if swapped else (left, right)
                instants[first] = times[first].instants[0]
                instants[second] = times[second].instants[1]
            repeats.append(repeated)
    return instants, repeats


def _refuse_more_rows_than_instants(times: Sequence[LocalTime]) -> None:
    rows: dict[tuple[datetime, ...], list[LocalTime]] = defaultdict(list)
    for time in times:
        rows[time.instants].append(time)
    for instants, same in rows.items():
        if len(same) > len(instants):
            raise InvalidInputError(
                f"Lines {same[0].line} and {same[len(instants)].line} are both of {same[0].text}.",
                "Choose rows with --where COLUMN=VALUE where a file holds several areas.",
            )


def _stretches(times: Sequence[LocalTime]) -> Iterable[list[int]]:
    """Places of rows that can be two instants, apart by change of the clocks, in file order."""
    repeated = [index for index, time in enumerate(times) if len(time.instants) > 1]
    by_time = sorted(repeated, key=lambda index: times[index].instants[0])
    stretch: list[int] = []
    for index in by_time:
        if stretch and times[index].instants[0] - times[stretch[-1]].instants[0] > NEAR:
            yield sorted(stretch)
            stretch = []
        stretch.append(index)
    if stretch:
        yield sorted(stretch)


def _pairs(
    times: Sequence[LocalTime], stretch: Sequence[int], lone_fold: int | None
) -> list[tuple[int, int]]:
    """(earlier, later) places in the file of each time that stands twice."""
    rows: dict[tuple[datetime, ...], list[int]] = defaultdict(list)
    for index in stretch:
        rows[times[index].instants].append(index)
    for indexes in rows.values():
        if len(indexes) == 1 and lone_fold is None:
            lone = times[indexes[0]]
            raise InvalidInputError(
                f"Line {lone.line}: the local time {lone.text} exists twice, and the file has it"
                " once.",
                f"{WAY_OUT}, or say which is meant with --fold first or --fold second.",
            )
    return [(indexes[0], indexes[1]) for indexes in rows.values() if len(indexes) == 2]


def _decide(
    times: Sequence[LocalTime], instants: Sequence[datetime], pairs: Sequence[tuple[int, int]]
) -> tuple[Repeated, bool]:
    """What was told apart, and whether the later rows are the first pass."""
    left, right = zip(*pairs, strict=True)
    interleaved = max(left) > min(right)
    plain = (
        all(second_index == first_index + 1 for first_index, second_index in pairs)
        if interleaved
        else list(right) == sorted(right)
    )
    forwards, backwards = (
        _walk(times, instants, pairs, swapped=swapped) for swapped in (False, True)
    )
    if not plain or forwards == backwards:
        raise InvalidInputError(
            f"The local time {times[left[0]].text} exists twice (lines {times[left[0]].line} and"
            f" {times[right[0]].line}), and the order of the rows does not say which is which.",
            f"{WAY_OUT}, or sort the file by time.",
        )
    swapped = backwards < forwards
    first, second = (right, left) if swapped else (left, right)
    return (
        Repeated(
            tuple(times[index] for index in first),
            tuple(times[index] for index in second),
            interleaved,
        ),
        swapped,
    )


def _walk(
    times: Sequence[LocalTime],
    instants: Sequence[datetime],
    pairs: Sequence[tuple[int, int]],
    *,
    swapped: bool,
) -> timedelta:
    """How far one walks in time going down the rows there, by steps no longer than NEAR.

    Rows in any order of time walk the shortest way where the passes are taken as they were.
    """
    taken = dict[int, datetime]()
    for left, right in pairs:
        taken[left] = times[left].instants[1 if swapped else 0]
        taken[right] = times[right].instants[0 if swapped else 1]
    steps = {index + step for index in taken for step in (0, 1)}
    walked = timedelta()
    for index in steps:
        if 0 < index < len(times):
            here = taken.get(index, instants[index])
            before = taken.get(index - 1, instants[index - 1])
            walked += min(abs(here - before), NEAR)
    return walked


def _lines(rows: Sequence[LocalTime]) -> str:
    lines = sorted(row.line for row in rows)
    runs = all(b - a == 1 for a, b in pairwise(lines)) and len(lines) > 1
    if runs:
        return f"lines {lines[0]} to {lines[-1]}"
    return f"{'lines' if len(lines) > 1 else 'line'} {', '.join(map(str, lines))}"
