"""Times readings by the clock since their host's boot where its wall clock was set.

Invariant: readings of one boot keep the order and the distances of their time since the boot; the
wall clock decides only where in a billing period their energy lies.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import islice, pairwise, permutations

from ledger.domain.energy.counter_course import AROUND, STEP_US, EnergyReading, microseconds
from ledger.domain.period import EPOCH, MICROSECOND

STEP_KNOWN_US = AROUND // MICROSECOND
# Of six boots, more than which no host has in three hours, all.
ORDERS_TRIED = 720


def by_boot(readings: Iterable[EnergyReading]) -> list[Sequence[EnergyReading]]:
    """The readings of each boot of the host, in the order of the boots, each on its boot's clock.

    One group by wall time where a reading does not say its boot, or two boots lie in one time. The
    wall clock can be set back over the boot before: when a boot began it had not been yet, and the
    next one begins by the clock that was set.
    """
    everything = list(readings)
    boots: dict[str, list[EnergyReading]] = defaultdict(list)
    for reading in everything:
        if reading.boot_id is None or reading.monotonic_us is None:
            return [everything]
        boots[reading.boot_id].append(reading)
    if not boots:
        return []
    timed = sorted((_timed(of) for of in boots.values()), key=lambda of: of[0].sampled_at)
    if all(before[-1].sampled_at < later[0].sampled_at for before, later in pairwise(timed)):
        return timed
    timed.sort(key=lambda of: of[0].wall_at)
    orders = islice(permutations(timed), ORDERS_TRIED)
    return next((list(order) for order in orders if _follow(order)), [everything])


def _follow(boots: Sequence[Sequence[EnergyReading]]) -> bool:
    """Whether each boot begins, as the clocks then were, after the one before it was read last."""
    return all(before[-1].wall_at < later[0].wall_at for before, later in pairwise(boots))


def _timed(of_boot: Iterable[EnergyReading]) -> Sequence[EnergyReading]:
    ordered = sorted(
        of_boot, key=lambda reading: (_since_boot(reading), reading.energy_mj, reading.stream)
    )
    offsets = [microseconds(reading.sampled_at) - _since_boot(reading) for reading in ordered]
    if all(abs(b - a) <= STEP_US for a, b in pairwise(offsets)):
        return ordered
    return [
        replace(
            reading,
            sampled_at=EPOCH + timedelta(microseconds=offsets[-1] + _since_boot(reading)),
            billed_at=reading.sampled_at,
        )
        for reading in ordered
    ]


def _since_boot(reading: EnergyReading) -> int:
    assert reading.monotonic_us is not None
    return reading.monotonic_us


def stretch_us(before: EnergyReading, after: EnergyReading) -> tuple[int, int, int]:
    """Where what was used between two readings is billed, and how far the clock was set between
    them, in µs: before the second, for as long as it took."""
    start, end = microseconds(before.wall_at), microseconds(after.wall_at)
    lasted = microseconds(after.sampled_at) - microseconds(before.sampled_at)
    step = end - start - lasted
    since = start if abs(step) <= STEP_US else end - lasted
    return min(since, end - 1), end, 0 if since == start else step
