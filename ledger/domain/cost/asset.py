"""Turns what hardware was bought or leased for into the cost of any period.

Invariant: a period costs the difference of one rounded cumulative schedule, so neighbouring periods
add up and a whole life sums to its cost exactly, whatever the cuts.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from ledger.domain.apportion import amount_of, units_of
from ledger.domain.money import divide_half_even
from ledger.domain.period import MICROSECOND, Period

MICROSECONDS_PER_HOUR = timedelta(hours=1) // MICROSECOND


@dataclass(frozen=True, slots=True)
class OwnedTerms:
    """Bought: straight line from `purchase` to `residual` over `life_months` calendar months."""

    purchase: Decimal
    residual: Decimal
    in_service: datetime
    life_months: int

    @property
    def end_of_life(self) -> datetime:
        """When the last of it is written off."""
        return add_months(self.in_service, self.life_months)


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """Leased: `gpu_hour_rate` for each of `gpu_count` GPUs and every hour from `start` on."""

    gpu_hour_rate: Decimal
    gpu_count: int
    start: datetime


def asset_cost(terms: OwnedTerms | LeaseTerms, period: Period) -> Decimal:
    """Cost of a period at scale twelve; outside an owned asset's life it is zero."""
    return amount_of(_cost_until(terms, period.end) - _cost_until(terms, period.start))


def add_months(moment: datetime, months: int) -> datetime:
    """The same day and time `months` later, or the month's last day where it has no such day."""
    years, zero_based = divmod(moment.month - 1 + months, 12)
    first = moment.replace(year=moment.year + years, month=zero_based + 1, day=1)
    next_first = (first + timedelta(days=32)).replace(day=1)
    last_day = (next_first - timedelta(days=1)).day
    return first.replace(day=min(moment.day, last_day))


def _cost_until(terms: OwnedTerms | LeaseTerms, until: datetime) -> int:
    return _written_off(terms, until) if isinstance(terms, OwnedTerms) else _leased(terms, until)


def _written_off(terms: OwnedTerms, until: datetime) -> int:
    life = (terms.end_of_life - terms.in_service) // MICROSECOND
    elapsed = min(max((until - terms.in_service) // MICROSECOND, 0), life)
    return divide_half_even((units_of(terms.purchase) - units_of(terms.residual)) * elapsed, life)


def _leased(terms: LeaseTerms, until: datetime) -> int:
    elapsed = max((until - terms.start) // MICROSECOND, 0)
    owed = units_of(terms.gpu_hour_rate) * terms.gpu_count * elapsed
    return divide_half_even(owed, MICROSECONDS_PER_HOUR)
