"""Puts the readings of one board's energy counter into courses: stretches in which it ran on.

A reading joins the course that it can continue: the counter did not fall, and did not grow by more
than a board can draw. What cannot be one counter running on (a reset, a glitch, a clock set back, a
second collector whose clock differs) falls into courses of its own, by what the counter shows and
not by what its epoch is called: a name lost with a collector's state is no new counter.

Invariant: courses do not depend on the order or the repetition of readings, and no stretch of time
is in two of them, but where a clock was set back.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from operator import attrgetter

from ledger.domain.period import EPOCH, MICROSECOND

# More than any board or module draws. Where nobody knows a board's own limit this one still keeps
# the whole life of a counter from being booked as the energy of a second.
POWER_LIMIT_MW = 5_000_000
# Counters move in steps of 20 to 100 ms, so that two close readings may show a whole step.
COUNTER_STEP_US = 200_000
# Two clocks that are read one after the other differ by less.
STEP_US = 500_000
# Readings that run on this long before and after a stretch mean what they show. Where they do not,
# what happens within the longer time decides: a clock that is set back is set back an hour.
NEAR = timedelta(minutes=15)
AROUND = timedelta(minutes=75)
# Courses that a reading may continue: glitches and a second clock need two or three.
OPEN_COURSES = 8
# By no more than this the clocks of two collectors of one board differ.
SKEW = timedelta(seconds=10)
STEP_BACK_READINGS = 3
# So many readings in a row may be too high and yet be a glitch.
GLITCH_READINGS = 2
PACE_READINGS = 10


@dataclass(frozen=True, slots=True, order=True)
class EnergyReading:
    """A counter of `energy_mj` millijoules at `sampled_at`, in one `epoch` of the counter.

    `power_mw` is what the board said it draws then, None where it did not; `source` is who read it.
    `monotonic_us` is the time since the boot that `boot_id` names, `driver_load` the load of the
    driver that counts. Where `sampled_at` is told by that clock, `billed_at` is the wall's.
    """

    sampled_at: datetime
    epoch: str
    energy_mj: int
    quality: str = "good"
    power_mw: int | None = None
    source: str = ""
    boot_id: str | None = None
    driver_load: str | None = None
    monotonic_us: int | None = None
    billed_at: datetime | None = None

    @property
    def wall_at(self) -> datetime:
        """When it was read by the wall clock, which billing periods follow."""
        return self.sampled_at if self.billed_at is None else self.billed_at

    @property
    def stream(self) -> tuple[str, str]:
        """In which life of the counter: by boot and driver load, else as its reader names it."""
        if self.boot_id is not None and self.driver_load is not None:
            return self.boot_id, self.driver_load
        return self.source, self.epoch


Course = list[EnergyReading]


@dataclass(frozen=True, slots=True)
class Board:
    """What a board can do: the most it draws, in mW."""

    power_limit_mw: int = POWER_LIMIT_MW

    def can_draw(self, energy_mj: int, since: datetime, until: datetime) -> bool:
        """Whether so much energy fits into the time, with a tenth and a counter step of margin."""
        elapsed_us = microseconds(until) - microseconds(since) + COUNTER_STEP_US
        return energy_mj * 10_000_000 <= self.power_limit_mw * elapsed_us * 11


ANY_BOARD = Board()


def microseconds(moment: datetime) -> int:
    """Since 1970, exact."""
    return (moment - EPOCH) // MICROSECOND


def runs_on(readings: Sequence[EnergyReading], board: Board = ANY_BOARD) -> bool:
    """Whether each of these readings, as they are ordered, continues the one before it, and no
    clock was set back between them: what was read before that may lie anywhere among them."""
    return all(
        before.sampled_at < after.sampled_at
        and not _is_set_back(before, after)
        and before.energy_mj <= after.energy_mj
        and board.can_draw(after.energy_mj - before.energy_mj, before.sampled_at, after.sampled_at)
        for before, after in pairwise(readings)
    )


def _is_set_back(before: EnergyReading, after: EnergyReading) -> bool:
    if before.boot_id is None or before.boot_id != after.boot_id:
        return False
    if before.monotonic_us is None or after.monotonic_us is None:
        return False
    by_wall = (after.sampled_at - before.sampled_at) // MICROSECOND
    return after.monotonic_us - before.monotonic_us > by_wall + STEP_US


def find_courses(
    readings: Iterable[EnergyReading], board: Board
) -> tuple[list[Course], list[EnergyReading]]:
    """The courses of a board in time order, and the readings that fit into none of them."""
    grown, left_out = _rejoined(_grow(sorted(readings, key=_by_time), board), board)
    if len(grown) < 2:
        return grown, left_out
    kept: list[Course] = []
    for course in sorted(grown, key=_longest_first):
        if any(steps_back(k, course) or steps_back(course, k) for k in kept):
            kept.append(course)
            continue
        inside = [reading for reading in course if any(_covers(k, reading) for k in kept)]
        left_out += inside
        kept += _outside(course, kept)
    kept.sort(key=lambda course: (course[0].sampled_at, course[0].energy_mj))
    return kept, left_out


def steps_back(before: Course, after: Course) -> bool:
    """Whether `other` continues `one` under a clock that was set back between them.

    Single readings prove nothing, nor does a step larger than the counter's pace.
    """
    last, first = before[-1], after[0]
    if first.sampled_at > last.sampled_at or last.stream != first.stream:
        return False
    paces = (paced_mj(before, SKEW), paced_mj(after, SKEW))
    if min(len(before), len(after)) < STEP_BACK_READINGS or not all(paces):
        return False
    return 0 <= first.energy_mj - last.energy_mj <= 2 * max(paces)


def _by_time(reading: EnergyReading) -> tuple[datetime, int, str, str]:
    return reading.sampled_at, reading.energy_mj, *reading.stream


def _grow(ordered: Sequence[EnergyReading], board: Board) -> list[Course]:
    """Every reading to that of the courses it can continue whose pace it keeps best."""
    growing: list[_Growing] = []
    closed: list[Course] = []
    for _, alike in groupby(ordered, key=attrgetter("sampled_at", "energy_mj")):
        reading = next(alike)
        able = _able(growing, reading, board)
        if able:
            best = (
                able[0]
                if len(able) == 1
                else min(able, key=lambda growing_course: growing_course.misses_by(reading))
            )
            best.take(reading)
            continue
        growing.append(_Growing([reading], reading.sampled_at))
        if len(growing) > OPEN_COURSES:
            stale = min(growing, key=_last_read)
            growing.remove(stale)
            closed.append(stale.course)
    return closed + [growing_course.course for growing_course in growing]


def _able(
    growing: Sequence["_Growing"], reading: EnergyReading, board: Board
) -> Sequence["_Growing"]:
    """The courses that a reading can continue: of its own load of the driver, else the newest, as
    some counters run on when a driver is loaded again."""
    able = [each for each in growing if each.can_take(reading, board)]
    own = [each for each in able if not is_reloaded(each.course[-1], reading)]
    if own or not able:
        return own
    newest = max(growing, key=_last_read)
    return [each for each in able if each is newest]


def _last_read(growing: "_Growing") -> datetime:
    return growing.course[-1].sampled_at


def _rejoined(grown: Iterable[Course], board: Board) -> tuple[list[Course], list[EnergyReading]]:
    """Courses whole again that readings too high had broken off, and those readings.

    Without them the counter ran on, and what they showed beyond it was never used.
    """
    whole: list[Course] = []
    left_out: list[EnergyReading] = []
    for course in sorted(grown, key=lambda earlier: _by_time(earlier[0])):
        ended = [earlier for earlier in whole if earlier[-1].sampled_at < course[0].sampled_at]
        before = max(ended, key=lambda earlier: earlier[-1].sampled_at, default=course)
        above = _readings_above(before, course, board)
        if above:
            left_out += before[-above:]
            before[-above:] = course
        else:
            whole.append(course)
    return whole, left_out


def is_reloaded(before: EnergyReading, after: EnergyReading) -> bool:
    """Whether the driver that counts was loaded again between two readings, and began anew."""
    loads = (before.driver_load, after.driver_load)
    return None not in loads and loads[0] != loads[1]


def _readings_above(before: Course, after: Course, board: Board) -> int:
    """How many readings at the end of a course keep the one after it from running on; 0: more."""
    first = after[0]
    if is_reloaded(before[-1], first):
        return 0
    for above in range(1, min(len(before), len(after), GLITCH_READINGS + 1)):
        last, leap = before[-1 - above], before[-above]
        same_source = {reading.source for reading in before[-1 - above :]} == {first.source}
        # At its own pace it got there by itself: what fell after that is another counter.
        paced = paced_mj(before[:-above], leap.sampled_at - last.sampled_at)
        leaps = leap.energy_mj - last.energy_mj > 2 * paced
        # Nor has one that began again since then come so far.
        runs = not board.can_draw(first.energy_mj, last.sampled_at, first.sampled_at)
        is_above = leap.energy_mj > first.energy_mj and (leaps or runs)
        if same_source and is_above and runs_on([last, first], board):
            return above
    return 0


@dataclass(slots=True)
class _Growing:
    """A course, and since when its counter has shown its present value."""

    course: Course
    moved_at: datetime

    def can_take(self, reading: EnergyReading, board: Board) -> bool:
        last = self.course[-1]
        grown = reading.energy_mj - last.energy_mj
        return (
            grown >= 0
            and last.sampled_at < reading.sampled_at
            and board.can_draw(
                grown, max(self.moved_at, reading.sampled_at - NEAR), reading.sampled_at
            )
        )

    def misses_by(self, reading: EnergyReading) -> int:
        """How far in mJ the reading is from what the course's pace leads to."""
        last = self.course[-1]
        led_to = last.energy_mj + paced_mj(self.course, reading.sampled_at - last.sampled_at)
        return abs(reading.energy_mj - led_to)

    def take(self, reading: EnergyReading) -> None:
        if reading.energy_mj != self.course[-1].energy_mj:
            self.moved_at = reading.sampled_at
        self.course.append(reading)


def paced_mj(course: Course, length: timedelta) -> int:
    """What the board uses in so much time at the pace of the course's last readings, in mJ."""
    start, end = course[-PACE_READINGS:][0], course[-1]
    elapsed = (end.sampled_at - start.sampled_at) // MICROSECOND
    grown = end.energy_mj - start.energy_mj
    return grown * (length // MICROSECOND) // elapsed if elapsed else 0


def _longest_first(course: Course) -> tuple[timedelta, int, EnergyReading]:
    return course[0].sampled_at - course[-1].sampled_at, -len(course), course[0]


def _outside(course: Course, kept: Sequence[Course]) -> list[Course]:
    """The parts of a course outside the time of those kept."""
    parts = [
        list(part)
        for covered, part in groupby(
            course, key=lambda reading: any(_covers(k, reading) for k in kept)
        )
        if not covered
    ]
    beside = [k for k in kept if sum(_covers(k, reading) for reading in course) >= PACE_READINGS]
    trimmed = (_trimmed(part, kept) for part in parts)
    # Who reads beside another shows one counter, however far apart their clocks are.
    own = ([r for r in part if not any(_has_shown(k, r) for k in beside)] for part in trimmed)
    return [part for part in own if part]


def _covers(course: Course, reading: EnergyReading) -> bool:
    return course[0].sampled_at <= reading.sampled_at <= course[-1].sampled_at


def _has_shown(course: Course, reading: EnergyReading) -> bool:
    return course[0].energy_mj < reading.energy_mj < course[-1].energy_mj


def _trimmed(part: Course, kept: Sequence[Course]) -> Course:
    """A part without the readings whose energy a course beside it already has.

    Two readers of one counter differ by what it grows while their clocks do.
    """
    before = max(
        (k for k in kept if k[-1].sampled_at < part[0].sampled_at),
        key=lambda k: k[-1].sampled_at,
        default=None,
    )
    after = min(
        (k for k in kept if k[0].sampled_at > part[-1].sampled_at),
        key=lambda k: k[0].sampled_at,
        default=None,
    )
    low, high = part[0].energy_mj, part[-1].energy_mj
    if before is not None and is_behind(before, part):
        low = before[-1].energy_mj
    if after is not None and is_behind(part, after):
        high = after[0].energy_mj
    return [reading for reading in part if low <= reading.energy_mj <= high]


def is_behind(before: Course, after: Course) -> bool:
    """Whether `other`, which comes later, begins below the end of `one` by no more than clocks
    that differ explain."""
    if is_reloaded(before[-1], after[0]):
        return False
    behind = before[-1].energy_mj - after[0].energy_mj
    return 0 < behind <= max(paced_mj(before, SKEW), paced_mj(after, SKEW))
