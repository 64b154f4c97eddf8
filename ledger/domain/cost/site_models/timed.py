"""Rates by time of use, each in tiers: what a peak or a month's energy costs."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from fractions import Fraction
from typing import ClassVar

from ledger.domain.cost.site_models.span import SiteSpan, units
from ledger.domain.energy.time_of_use import TimeOfUse
from ledger.domain.period import EPOCH, zone
from ledger.wire.site_inputs import DemandTerms, RateTier, TierTerms, TimedRates
from ledger.wire.units import MJ_PER_KWH


def in_tiers(quantity: Fraction, tiers: Sequence[RateTier]) -> Fraction:
    """What a quantity costs where each tier prices what is above the one before."""
    cost, below = Fraction(0), Fraction(0)
    for tier in tiers:
        end = quantity if tier.up_to is None else min(quantity, Fraction(tier.up_to))
        cost += Fraction(tier.price) * max(end - below, Fraction(0))
        below = max(end, below)
    return cost


class _Timed:
    rank: ClassVar[int] = 0
    by_month: ClassVar[bool] = True

    def __init__(self, terms: TimedRates) -> None:
        self._tiers = terms.rates
        self._hours = TimeOfUse(terms.weekday, terms.weekend)

    def _by_rate(self, span: SiteSpan, *, minutes: int) -> Mapping[int, Mapping[int, int]]:
        """Energy in mJ by rate and by the stretch of so many minutes it was used in."""
        local, length = zone(span.zone_name), timedelta(minutes=minutes)
        energy: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
        for window in span.windows:
            rate = self._hours.rate_at(window.start.astimezone(local))
            energy[rate][(window.start - EPOCH) // length] += window.energy_mj
        return energy


class Demand(_Timed):
    """The highest power of the month so far at each rate: it is known when the month is over, and
    until then what a day adds to it is that day's."""

    def __init__(self, terms: DemandTerms) -> None:
        super().__init__(terms)
        self._minutes = terms.window_minutes

    def up_to(self, span: SiteSpan) -> int:
        """See `SiteCostModel`."""
        stretches = self._by_rate(span, minutes=self._minutes)
        peaks = {rate: max(mj_by_stretch.values()) for rate, mj_by_stretch in stretches.items()}
        return units(
            sum(
                (
                    in_tiers(Fraction(mj * 60, MJ_PER_KWH * self._minutes), self._tiers[rate])
                    for rate, mj in peaks.items()
                ),
                Fraction(0),
            )
        )


class EnergyTiers(_Timed):
    """What the month's energy at each rate costs by tiers, less what the first tier would."""

    def __init__(self, terms: TierTerms) -> None:
        super().__init__(terms)

    def up_to(self, span: SiteSpan) -> int:
        """See `SiteCostModel`."""
        cost = Fraction(0)
        for rate, mj_by_stretch in self._by_rate(span, minutes=60).items():
            used, tiers = Fraction(sum(mj_by_stretch.values()), MJ_PER_KWH), self._tiers[rate]
            cost += in_tiers(used, tiers) - used * Fraction(tiers[0].price)
        return units(cost)
