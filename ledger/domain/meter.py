"""Turns raw cumulative readings of one GPU into energy between edges, measured and estimated apart.

Invariant: over any edges inside one unbroken stretch of readings the slices add up to the last
counter minus the first, whatever the edges; order and repetition of readings change nothing.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from ledger.domain.period import EPOCH, MICROSECOND

MAX_GAP = timedelta(seconds=60)
# More than any board or module draws. Where nobody knows a board's own limit this one still keeps
# the whole life of a counter from being booked as the energy of a second, which is what a glitched
# reading, or a collector that lost its memory of the epoch, would otherwise do.
POWER_LIMIT_MW = 5_000_000
# Counters move in steps of 20 to 100 ms, so that two close readings may show a whole step.
COUNTER_STEP_US = 200_000
JUMP = "counter_jump"


@dataclass(frozen=True, slots=True, order=True)
class EnergyReading:
    """A counter of `energy_mj` millijoules at `sampled_at`, in one `epoch` of the counter."""

    sampled_at: datetime
    epoch: str
    energy_mj: int
    quality: str = "good"


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


@dataclass(frozen=True, slots=True)
class Span:
    """Energy between two neighbouring readings, spread evenly over the time between them."""

    start_us: int
    end_us: int
    energy_mj: int
    metered: bool
    finding: str | None = None

    @property
    def known(self) -> bool:
        """Whether its energy is believed; of a suspect span nothing is known."""
        return self.finding != JUMP


def microseconds(moment: datetime) -> int:
    """Since 1970, exact."""
    return (moment - EPOCH) // MICROSECOND


def spans(
    readings: Iterable[EnergyReading],
    *,
    max_gap: timedelta = MAX_GAP,
    power_limit_mw: int = POWER_LIMIT_MW,
) -> list[Span]:
    """What lies between neighbouring readings, in time order.

    A new epoch is never subtracted from the old one: what its counter shows at first sight is
    booked as estimated over the gap (a lower bound of what ran since the counter began). A counter
    that falls inside an epoch is an unnoticed reset and treated alike. A stretch longer than
    `max_gap` is estimated, because its course in time is. A jump above 1.1 × the power limit is
    suspect: reported, booked as nothing.
    """
    return [
        _span(one, other, max_gap, power_limit_mw) for one, other in pairwise(_in_order(readings))
    ]


def energy_between(found: Sequence[Span], edges: Sequence[datetime]) -> list[EnergySlice]:
    """Energy of `found` spans between neighbouring sorted `edges`; one slice fewer than edges."""
    marks = [microseconds(edge) for edge in edges]
    slices = [[0, 0, 0] for _ in marks[1:]]
    for span in found:
        _pour(span, marks, slices)
    return [EnergySlice(*parts) for parts in slices]


def findings(found: Iterable[Span]) -> list[str]:
    """What was noticed, once each, sorted."""
    return sorted({span.finding for span in found if span.finding})


def _in_order(readings: Iterable[EnergyReading]) -> list[EnergyReading]:
    kept: dict[datetime, EnergyReading] = {}
    for reading in sorted(readings):
        kept.setdefault(reading.sampled_at, reading)
    return list(kept.values())


def _span(one: EnergyReading, other: EnergyReading, max_gap: timedelta, limit_mw: int) -> Span:
    start, end = microseconds(one.sampled_at), microseconds(other.sampled_at)
    energy, finding = other.energy_mj - one.energy_mj, None
    reset = one.epoch != other.epoch or energy < 0
    if reset:
        energy, finding = other.energy_mj, "counter_reset"
    if energy * 10_000_000 > limit_mw * (end - start + COUNTER_STEP_US) * 11:
        return Span(start, end, 0, metered=False, finding=JUMP)
    long = other.sampled_at - one.sampled_at > max_gap
    measured = one.quality == "good" and other.quality == "good"
    return Span(
        start,
        end,
        energy,
        metered=measured and not reset and not long,
        finding=finding or ("gap" if long else None),
    )


def _pour(span: Span, marks: Sequence[int], slices: list[list[int]]) -> None:
    length = span.end_us - span.start_us
    first = max(bisect_right(marks, span.start_us) - 1, 0)
    column = 0 if span.metered else 1
    poured, at = 0, span.start_us
    if marks and marks[0] > at:
        at = min(marks[0], span.end_us)
        poured = span.energy_mj * (at - span.start_us) // length
    for number in range(first, len(slices)):
        if at >= span.end_us:
            break
        until = min(marks[number + 1], span.end_us)
        if until <= at:
            continue
        upto = span.energy_mj * (until - span.start_us) // length
        slices[number][column] += upto - poured
        slices[number][2] += (until - at) * span.known
        poured, at = upto, until
