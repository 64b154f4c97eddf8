"""Turns raw cumulative readings of one GPU into energy between edges, measured and estimated apart.

Invariant: over any edges inside one unbroken stretch of readings the slices add up to the last
counter minus the first, whatever the edges; order and repetition of readings change nothing. Where
the counter does not explain what was used, no more is booked than it proves, and never as measured.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from typing import NamedTuple, overload

import numpy as np

from ledger.domain.arrays import Ints
from ledger.domain.energy.boot_clock import STEP_KNOWN_US, by_boot, stretch_us
from ledger.domain.energy.counter_course import (
    POWER_LIMIT_MW,
    SKEW,
    Board,
    Course,
    EnergyReading,
    find_courses,
    is_behind,
    is_reloaded,
    microseconds,
    steps_back,
)
from ledger.domain.energy.even_energy import even_energy
from ledger.domain.energy.span import (
    CLOCK_LOST,
    CLOCK_STEP,
    DISAGREES,
    DOUBTFUL,
    DRIVER_RELOAD,
    FROZEN,
    JUMP,
    LEFT_OUT,
    PAUSED,
    REBOOT,
    RESET,
    TOO_SLOW,
    UNIT,
    Span,
)
from ledger.domain.period import MICROSECOND, Period

MAX_GAP = timedelta(seconds=60)
# Power is an instant's or a second's, energy a stretch's: only what no load explains is a fault.
POWER_FACTOR = 20
# Half a second holds steps of any counter; readings come each second, at times a little sooner.
POWER_CHECK_FROM = timedelta(milliseconds=500)
# So long and so often a board says what it draws before its counter is held to that as a whole.
WHOLE_FROM = timedelta(minutes=5)
WHOLE_READINGS = 10
# No board that runs draws less than this. A counter that says so counts joules or stands still.
POWER_FLOOR_MW = 1_000


@dataclass(frozen=True, slots=True)
class EnergySlice:
    """Energy between two edges in mJ; `covered_us` is how much of the time anything is known."""

    metered_mj: int
    estimated_mj: int
    covered_us: int

    @property
    def total_mj(self) -> int:
        """Measured and estimated together, for splitting by second only."""
        return self.metered_mj + self.estimated_mj


class EnergyColumns(NamedTuple):
    """What EnergySlice has, of one slice after the other."""

    metered_mj: list[int]
    estimated_mj: list[int]
    covered_us: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class EvenSpans(Sequence[Span]):
    """The spans of a counter that ran on, all of them metered and without a finding, as columns:
    microseconds and millijoules of its readings, one more than there are spans."""

    at_us: Ints
    energy_mj: Ints

    def __len__(self) -> int:
        return max(self.at_us.size - 1, 0)

    @overload
    def __getitem__(self, index: int) -> Span: ...
    @overload
    def __getitem__(self, index: slice) -> list[Span]: ...
    def __getitem__(self, index: int | slice) -> Span | list[Span]:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        (start, end), (before, after) = (
            column[at : at + 2].tolist() for column in (self.at_us, self.energy_mj)
        )
        return Span(start, end, after - before, metered=True)

    def within(self, window: Period) -> "EvenSpans":
        """Spans that touch the window."""
        begin, end = microseconds(window.start), microseconds(window.end)
        first = max(int(self.at_us.searchsorted(begin, "right")) - 1, 0)
        last = int(self.at_us.searchsorted(end, "left")) + 1
        return EvenSpans(self.at_us[first:last], self.energy_mj[first:last])

    def between(self, edges: Sequence[int]) -> EnergyColumns:
        """Energy between neighbouring sorted microseconds."""
        return EnergyColumns(*self.columns(np.array(edges, np.int64)).tolist())

    def columns(self, marks: Ints) -> Ints:
        """The same as rows of an array."""
        if not len(self):
            return np.zeros((3, marks.size - 1), np.int64)
        return even_energy(self.at_us, self.energy_mj, marks)


def spans(
    readings: Iterable[EnergyReading],
    *,
    max_gap: timedelta = MAX_GAP,
    power_limit_mw: int = POWER_LIMIT_MW,
) -> list[Span]:
    """What lies between neighbouring readings, in time order.

    Inside a course the counter proves the energy; it is estimated where its course in time is
    (longer than `max_gap`) and where one reader or epoch ends and another begins. What the board's
    own power makes doubtful is said of it, and booked as the counter has it. Between courses
    what the later one shows is booked, as estimated, where a reset explains it: a lower bound. More
    than 1.1 × the power limit is suspect: reported, booked as nothing. A counter that stands still
    for longer than `max_gap`, though the board is not said to draw nothing, is frozen. Readings
    that say the boot of their host are ordered by the time since it, and a driver that was loaded
    again has a counter that began again.
    """
    board = Board(power_limit_mw)
    ordered: list[Span] = []
    before: EnergyReading | None = None
    for of_boot in by_boot(readings):
        courses, left_out = find_courses(of_boot, board)
        for course in courses:
            ordered += _within(course, max_gap, board)
        ordered += [*_between(courses, board), *map(_left_out, left_out)]
        if before is not None:
            ordered.append(_rebooted(before, courses[0][0], board))
        before = courses[-1][-1]
    return sorted(ordered, key=lambda span: (span.start_us, span.end_us))


def energy_between(measured: Sequence[Span], edges: Sequence[datetime]) -> list[EnergySlice]:
    """Energy of `found` spans between neighbouring sorted `edges`; one slice fewer than edges."""
    columns = energy_columns(measured, [microseconds(edge) for edge in edges])
    return [EnergySlice(*parts) for parts in zip(*columns, strict=True)]


def energy_columns(measured: Sequence[Span], marks: Sequence[int]) -> EnergyColumns:
    """The same between neighbouring sorted microseconds."""
    if isinstance(measured, EvenSpans):
        return measured.between(marks)
    columns, known_until = _no_energy(marks), marks[0] if marks else 0
    for span in measured:
        _pour(span, marks, columns)
        if span.known and span.end_us > known_until:
            # Where a clock was set back, two spans lie in one stretch of time.
            _cover(max(span.start_us, known_until), span.end_us, marks, columns)
            known_until = span.end_us
    return columns


def _no_energy(marks: Sequence[int]) -> EnergyColumns:
    metered, estimated, covered = ([0] * (len(marks) - 1) for _ in range(3))
    return EnergyColumns(metered, estimated, covered)


def findings(measured: Iterable[Span]) -> list[str]:
    """What was noticed, once each, sorted."""
    if isinstance(measured, EvenSpans):
        return []
    return sorted({span.finding for span in measured if span.finding})


def _within(course: Course, max_gap: timedelta, board: Board) -> Iterator[Span]:
    # How far anyone who has read up to here goes on to read: a change of readers that nobody saw
    # from both sides is a border.
    last = {reading.stream: index for index, reading in enumerate(course)}
    frozen = _frozen(course, max_gap)
    finding = DOUBTFUL if _is_doubtful(course) else None
    shown_since = _shown_since(course, max_gap)
    stood = {index for step, first in shown_since.items() for index in range(first, step)}
    reach = 0
    for index, (before, after) in enumerate(pairwise(course)):
        reach = max(reach, last[before.stream])
        if index in stood:
            continue
        if index in frozen:
            yield _span(before, after, after.energy_mj - before.energy_mj, finding=FROZEN)
        elif is_reloaded(before, after):
            yield _restart(before, after, board, DRIVER_RELOAD)
        else:
            alike = course[shown_since.get(index, index) : index + 1]
            step = _step(alike, after, max_gap, border=reach <= index)
            yield replace(step, finding=finding) if finding and step.metered else step


def _shown_since(course: Course, max_gap: timedelta) -> dict[int, int]:
    """Since which reading a counter had shown what it showed before a step, by the place of that.

    An exporter that looks at its board twice a minute shows one energy for as long: what it shows
    then was used all the while.
    """
    since: dict[int, int] = {}
    first = 0
    for index, (before, after) in enumerate(pairwise(course)):
        if is_reloaded(before, after):
            first = index + 1
        elif after.energy_mj != before.energy_mj:
            if first < index and after.sampled_at - course[first].sampled_at <= max_gap:
                since[index] = first
            first = index + 1
    return since


def _step(alike: Course, after: EnergyReading, max_gap: timedelta, *, border: bool) -> Span:
    """From the first of the readings that show one energy to the one that comes after them."""
    before = alike[0]
    energy, elapsed = after.energy_mj - before.energy_mj, after.sampled_at - before.sampled_at
    against, long = _against_power(alike, after, energy, elapsed), elapsed > max_gap
    if against is not None and against < energy and _wall_explains(alike, after, energy):
        return _paused(before, after, energy)
    if against is not None:
        # Of two that contradict each other the lesser is all that is sure.
        return _span(before, after, min(energy, against), finding=DISAGREES)
    if _too_slow(before, after, energy):
        return _span(before, after, energy, finding=TOO_SLOW)
    if border:
        return _span(before, after, energy, finding="epoch_changed")
    good = all(reading.quality == "good" for reading in (*alike, after))
    return _span(before, after, energy, metered=good and not long, finding="gap" if long else None)


def _restart(before: EnergyReading, after: EnergyReading, board: Board, reason: str) -> Span:
    """What a counter that is said to have begun again between two readings proves: what it shows,
    or what it shows beyond the last value where that is less, because some run on all the same."""
    grown = after.energy_mj - before.energy_mj
    energy = grown if grown >= 0 else after.energy_mj
    if board.can_draw(energy, before.sampled_at, after.sampled_at):
        return _span(before, after, energy, finding=reason)
    return _span(before, after, 0, finding=JUMP)


def _rebooted(before: EnergyReading, after: EnergyReading, board: Board) -> Span:
    """As a restart, where the host began again after what was read last: else a clock was wrong,
    and which came first is not sure."""
    assert after.monotonic_us is not None
    began = microseconds(after.wall_at) - after.monotonic_us
    if began < microseconds(before.wall_at) - SKEW // MICROSECOND:
        return _span(before, after, 0, finding=JUMP)
    return _restart(before, after, board, REBOOT)


def _wall_explains(alike: Course, after: EnergyReading, energy_mj: int) -> bool:
    """Whether power agrees with the time by the wall clock, where that is longer."""
    by_wall = after.wall_at - alike[0].wall_at
    longer = by_wall > after.sampled_at - alike[0].sampled_at
    return longer and _against_power(alike, after, energy_mj, by_wall) is None


def _paused(before: EnergyReading, after: EnergyReading, energy_mj: int) -> Span:
    """Of a guest that stood still: its board went on, and the time since its boot did not."""
    since, until = microseconds(before.wall_at), microseconds(after.wall_at)
    return Span(since, until, energy_mj, metered=False, finding=PAUSED)


def _against_power(
    alike: Course, after: EnergyReading, energy_mj: int, elapsed: timedelta
) -> int | None:
    """What power says in mJ, where no load explains how far the counter is from it."""
    # An even counter is frozen or rests: that takes more than two readings to tell.
    if not POWER_CHECK_FROM < elapsed <= MAX_GAP or not energy_mj:
        return None
    powers = [reading.power_mw for reading in (*alike, after) if reading.power_mw is not None]
    if len(powers) <= len(alike):
        return None
    low, high = min(powers), max(powers)
    elapsed_us = elapsed // timedelta(microseconds=1)
    least, most = low * elapsed_us // 1_000_000, high * elapsed_us // 1_000_000
    too_little, too_much = energy_mj * POWER_FACTOR < least, energy_mj > most * POWER_FACTOR
    return most if (too_little or too_much) and most else None


def _is_doubtful(course: Course) -> bool:
    """Whether a course as a whole is far above the most that its board said it draws, or far below
    the least: which of counter and power is wrong nobody can say."""
    took_s = (course[-1].sampled_at - course[0].sampled_at) // timedelta(seconds=1)
    powers = [reading.power_mw for reading in course if reading.power_mw is not None]
    often = len(powers) == len(course) >= WHOLE_READINGS
    if not often or took_s < WHOLE_FROM // timedelta(seconds=1):
        return False
    if any(after.sampled_at - before.sampled_at > MAX_GAP for before, after in pairwise(course)):
        return False
    mean_mw = (course[-1].energy_mj - course[0].energy_mj) // took_s
    least, most = min(powers), max(powers)
    return mean_mw * 3 < least * 2 or (most > 0 and mean_mw * 2 > most * 3)


def _too_slow(before: EnergyReading, after: EnergyReading, energy_mj: int) -> bool:
    elapsed = after.sampled_at - before.sampled_at
    return elapsed > POWER_CHECK_FROM and 0 < energy_mj * 1_000_000 < POWER_FLOOR_MW * (
        elapsed // timedelta(microseconds=1)
    )


def _frozen(course: Course, max_gap: timedelta) -> set[int]:
    """Places of a course from which on the counter stood still, up to its next move.

    What it catches up with a move is a lower bound of what was used while it stood.
    """
    indexes: set[int] = set()
    first = 0
    for _, alike in groupby(course, key=lambda reading: reading.energy_mj):
        stretch = list(alike)
        still = stretch[-1].sampled_at - stretch[0].sampled_at > max_gap and len(stretch) > 2
        if still and any(reading.power_mw != 0 for reading in stretch):
            indexes.update(range(first, first + len(stretch)))
        first += len(stretch)
    return indexes


def _between(courses: Sequence[Course], board: Board) -> Iterator[Span]:
    """What is provable between courses that follow each other, and where a clock was set back."""
    front: Course | None = None
    for course in courses:
        for other in courses:
            if other is not course and steps_back(other, course):
                yield _clock_step(other, course)
        after = front is not None and course[0].sampled_at > front[-1].sampled_at
        if front is not None and after and not steps_back(course, front):
            yield _border(front, course, board)
        if front is None or course[-1].sampled_at > front[-1].sampled_at:
            front = course


def _border(before: Course, after: Course, board: Board) -> Span:
    last, first = before[-1], after[0]
    grown = first.energy_mj - last.energy_mj
    if is_reloaded(last, first):
        return _restart(last, first, board, DRIVER_RELOAD)
    if is_behind(before, after):
        # A young counter that began again, or clocks that differ: nothing is sure to be new.
        return _span(last, first, 0, finding=LEFT_OUT)
    if abs(last.energy_mj - first.energy_mj * 1_000) * 100 <= last.energy_mj:
        # Millijoules became joules: what the counter shows is not what was used since a reset.
        return _span(last, first, 0, finding=UNIT)
    energy, finding = (grown, "epoch_changed") if grown >= 0 else (first.energy_mj, RESET)
    if board.can_draw(energy, last.sampled_at, first.sampled_at):
        return _span(last, first, energy, finding=finding)
    same_life = grown >= 0 and last.stream == first.stream
    if same_life and board.can_draw(energy, last.wall_at, first.wall_at):
        return _paused(last, first, energy)
    return _span(last, first, 0, finding=JUMP)


def _clock_step(before: Course, after: Course) -> Span:
    """The energy between two courses of one counter, in the time of the second's first step."""
    first = after[0].sampled_at
    length = after[1].sampled_at - first if len(after) > 1 else timedelta(seconds=1)
    start, end = microseconds(first - length), microseconds(first)
    return Span(start, end, after[0].energy_mj - before[-1].energy_mj, False, CLOCK_STEP)


def _left_out(reading: EnergyReading) -> Span:
    """A reading that contradicts those around it adds nothing but the word that it came."""
    at = microseconds(reading.wall_at)
    return Span(at, at + 1, 0, metered=False, finding=LEFT_OUT)


def _span(
    before: EnergyReading,
    after: EnergyReading,
    energy_mj: int,
    *,
    metered: bool = False,
    finding: str | None,
) -> Span:
    start, end, step = stretch_us(before, after)
    if not step:
        return Span(start, end, energy_mj, metered, finding)
    lasted = end - start
    if lasted > MAX_GAP // MICROSECOND and abs(step) + lasted > STEP_KNOWN_US:
        # What lies on the other side of so large a step, or within so long an absence by the clock
        # of before, may not have been read.
        energy_mj, metered, finding = 0, False, CLOCK_LOST
    return Span(start, end, energy_mj, metered, finding or CLOCK_STEP)


def _pour(span: Span, marks: Sequence[int], columns: EnergyColumns) -> None:
    length = span.end_us - span.start_us
    column = columns.metered_mj if span.metered else columns.estimated_mj
    poured = span.energy_mj * max(marks[0] - span.start_us, 0) // length if marks else 0
    for number, _, until in _parts(span.start_us, span.end_us, marks):
        upto = span.energy_mj * (until - span.start_us) // length
        column[number] += upto - poured
        poured = upto


def _cover(start: int, end: int, marks: Sequence[int], columns: EnergyColumns) -> None:
    for number, since, until in _parts(start, end, marks):
        columns.covered_us[number] += until - since


def _parts(start: int, end: int, marks: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """The slices that [start, end) touches: (number, from, to)."""
    for number in range(max(bisect_right(marks, start) - 1, 0), len(marks) - 1):
        since, until = max(marks[number], start), min(marks[number + 1], end)
        if since >= end:
            return
        if until > since:
            yield number, since, until
