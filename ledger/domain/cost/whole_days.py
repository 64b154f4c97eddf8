"""Adds pools up by local day and meters by day of UTC, as differences, beside what cost_day does.

Invariant: of a day that is added up the differences sum to its windows as they stand.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import NamedTuple, TypeAlias

from ledger.domain.apportion import amount_of, units_of
from ledger.domain.cost.cost_line import CostPool, MeterKey, MeterWindow, PoolKey
from ledger.domain.energy.span import BY_WEIGHTS
from ledger.domain.period import DAY, midnight

# The start of the day, the kind of the pool and its currency.
PoolDay: TypeAlias = tuple[datetime, str, str]
# A GPU and the start of the day.
MeterDay: TypeAlias = tuple[str, datetime]


class MeterSums(NamedTuple):
    """What windows of a GPU come to: how many they are, and in how many anything is known."""

    metered_mj: int = 0
    estimated_mj: int = 0
    covered_s: int = 0
    windows: int = 0
    known: int = 0

    @classmethod
    def of(cls, window: MeterWindow) -> "MeterSums":
        """Of one window."""
        told = window.covered_s > 0 or window.metered_mj > 0
        known = told or BY_WEIGHTS in window.findings
        sums = window.metered_mj, window.estimated_mj, window.covered_s
        return cls(*sums, windows=1, known=int(known))

    def negated(self) -> "MeterSums":
        """What takes it away again."""
        return MeterSums(*(-each for each in self))


def utc_day(moment: datetime) -> datetime:
    """The start of the day of UTC that a moment is in."""
    return midnight(moment.astimezone(UTC).date(), "UTC")


def days_about(windows: Iterable[datetime]) -> list[datetime]:
    """Starts of the days of UTC of some windows, and of the day before each."""
    days = {utc_day(window) for window in windows}
    return sorted({*days, *(day - DAY for day in days)})


def pool_days(
    standing: Mapping[PoolDay, int],
    come: Iterable[tuple[PoolKey, CostPool]],
    gone: Mapping[PoolKey, CostPool],
    days: Mapping[datetime, datetime],
) -> dict[PoolDay, int]:
    """What pools that `come` in place of those `gone` add to days, in 1e-12, with all that is
    `standing`; `days` says the start of the day of a window, others are left out."""
    sums: dict[PoolDay, int] = defaultdict(int, standing)
    for (scope, window, kind), pool in come:
        if window not in days:
            continue
        sums[days[window], kind, pool.currency] += units_of(pool.amount)
        before = gone.get((scope, window, kind))
        if before is not None:
            sums[days[window], kind, before.currency] -= units_of(before.amount)
    return {key: units for key, units in sums.items() if units}


def meter_days(
    standing: Mapping[MeterDay, MeterSums],
    come: Iterable[tuple[MeterKey, MeterWindow]],
    gone: Mapping[MeterKey, MeterWindow],
    told: Collection[MeterDay],
) -> dict[MeterDay, MeterSums]:
    """What windows of meters that `come` in place of those `gone` add to days that are `told`, with
    all that is `standing` of those told from now on, though it be nothing."""
    day_of, moved = cache(utc_day), defaultdict[MeterDay, list[MeterSums]](list)
    for (gpu, window), value in come:
        key = gpu, day_of(window)
        if key in told:
            moved[key].append(MeterSums.of(value))
            before = gone.get((gpu, window))
            if before is not None:
                moved[key].append(MeterSums.of(before).negated())
    nothing = MeterSums()
    sums = dict(standing) | {
        key: MeterSums(*map(sum, zip(standing.get(key, nothing), *each, strict=True)))
        for key, each in moved.items()
    }
    return {key: each for key, each in sums.items() if any(each) or key in standing}


def pool_rows(sums: Mapping[PoolDay, int]) -> list[tuple[datetime, str, str, object]]:
    """Day, kind, currency and amount, in order."""
    return [(*key, amount_of(sums[key])) for key in sorted(sums)]
