"""Turns what hardware was bought or leased for into the cost of any period.

Invariant: a period costs the difference of one rounded cumulative schedule, so neighbouring periods
add up and a whole life sums to its cost exactly, whatever the cuts. What changes later spreads what
is left from then on: no earlier period costs anything else, and the sum stays the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from ledger.domain.apportion import amount_of, units_of
from ledger.domain.cost.depreciation import Schedule, add_months
from ledger.domain.errors import ConflictError
from ledger.domain.money import ZERO, divide_half_even
from ledger.domain.period import MICROSECOND, Period

MICROSECONDS_PER_HOUR = timedelta(hours=1) // MICROSECOND


@dataclass(frozen=True, slots=True)
class OwnedTerms:
    """Bought: from `purchase` to `residual` over `life_months` calendar months.

    `straight_line` costs the same each moment; `capital_recovery` as well, with interest of
    `rate_percent` a year; `declining` writes off that much of what is left each year of life, or
    evenly what is left over the rest of it, once that is more.
    """

    purchase: Decimal
    residual: Decimal
    in_service: datetime
    life_months: int
    method: str = "straight_line"
    rate_percent: Decimal = ZERO

    @property
    def end_of_life(self) -> datetime:
        """When the last of it is written off."""
        return add_months(self.in_service, self.life_months)

    @property
    def schedule(self) -> Schedule:
        """How it is written off where nothing was agreed otherwise before."""
        return self._schedule(units_of(self.purchase), self.in_service)

    def following(self, since: datetime, before: "OwnedTerms", was: Schedule) -> Schedule:
        """How it is written off from `since` on, with what a schedule left and what was added.

        ConflictError where there is no time for it, or the rest is less than the residual.
        """
        book = was.book_at(since) + units_of(self.purchase) - units_of(before.purchase)
        spent = book - units_of(self.residual)
        if spent < 0 or (spent and self.end_of_life <= since):
            left = f"{amount_of(book).normalize():f} is left then"
            why = "is less than its residual" if spent < 0 else "has no time to be written off"
            raise ConflictError(
                f"From {since:%Y-%m-%dT%H:%MZ} on, {left}, which {why}.",
                "Send a later end of life, a lower residual, or replace all of its history.",
            )
        if not spent:
            return self._schedule(book, self.in_service)
        return self._schedule(book, max(since, self.in_service))

    def _schedule(self, book: int, start: datetime) -> Schedule:
        life = Period(start, self.end_of_life)
        return Schedule(book, units_of(self.residual), life, self.method, self.rate_percent)


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """Leased: `gpu_hour_rate` for each of `gpu_count` GPUs and every hour from `start` on."""

    gpu_hour_rate: Decimal
    gpu_count: int
    start: datetime

    def cost_until(self, until: datetime) -> int:
        """What it has cost since its start."""
        elapsed = max((until - self.start) // MICROSECOND, 0)
        owed = units_of(self.gpu_hour_rate) * self.gpu_count * elapsed
        return divide_half_even(owed, MICROSECONDS_PER_HOUR)


def schedule_of(history: Sequence[tuple[datetime, OwnedTerms]]) -> Schedule:
    """How hardware is written off under the last of its terms, each with when it took over."""
    (_, terms), *later = history
    schedule = terms.schedule
    for since, following in later:
        if following != terms:
            schedule = following.following(since, terms, schedule)
        terms = following
    return schedule


def asset_cost(terms: Schedule | LeaseTerms, period: Period) -> Decimal:
    """Cost of a period at scale twelve; outside an owned asset's life it is zero."""
    return amount_of(terms.cost_until(period.end) - terms.cost_until(period.start))
