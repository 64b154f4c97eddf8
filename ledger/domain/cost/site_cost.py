"""What a site costs by day, beside energy at its price and hardware.

Invariant: a day costs what its billing period has come to by the day's end less what it had come to
before, so days add up to the period exactly, whatever is known only when the period is over.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TypeAlias

from ledger.domain.cost.site_models.span import SiteCostModel, SiteSpan, SiteUse
from ledger.domain.period import (
    Period,
    billing_period,
    day_starts,
    intersect,
)
from ledger.wire.site_inputs import ENERGY

DayKey: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True)
class SiteTerm:
    """A named cost of a site, valid in a period."""

    name: str
    currency: str
    valid: Period
    model: SiteCostModel

    @property
    def of(self) -> Sequence[str]:
        """The kinds of cost it follows from."""
        named: Sequence[str] = getattr(self.model, "of", ())
        return named


@dataclass(frozen=True, slots=True)
class SiteCosts:
    """The costs of one site over some days, each worked out once."""

    zone_name: str
    terms: Sequence[SiteTerm]
    use: SiteUse
    _known: dict[tuple[int, datetime], int] = field(default_factory=dict, init=False)

    def of_day(self, day: Period) -> dict[DayKey, int]:
        """What a local day costs by name and currency, in 1e-12."""
        sums: dict[DayKey, int] = {}
        for number, term in enumerate(self.terms):
            key = (term.name, term.currency)
            sums[key] = sums.get(key, 0) + self._amount(number, day)
        return {key: amount for key, amount in sums.items() if amount}

    def _amount(self, number: int, day: Period) -> int:
        known = self._known.get((number, day.start))
        if known is None:
            known = self._worked_out(self.terms[number], day)
            self._known[number, day.start] = known
        return known

    def _worked_out(self, term: SiteTerm, day: Period) -> int:
        month = billing_period(day.start, anchor_day=1, zone_name=self.zone_name)
        period = intersect(term.valid, month) if term.model.by_month else term.valid
        part = intersect(day, period) if period is not None else None
        if period is None or part is None:
            return 0
        return self._up_to(term, period, month, part.end) - self._up_to(
            term, period, month, part.start
        )

    def _up_to(self, term: SiteTerm, period: Period, month: Period, until: datetime) -> int:
        def came_to(names: Sequence[str], since: datetime, before: datetime) -> list[int]:
            return list(self._came_to(term, names, since, before))

        if until == period.start:
            return 0
        return term.model.up_to(SiteSpan(period, month, until, self.zone_name, self.use, came_to))

    def _came_to(
        self, asking: SiteTerm, names: Sequence[str], since: datetime, until: datetime
    ) -> Iterator[int]:
        """What the named costs came to in its currency on each day that begins in the period."""
        asked = [
            number
            for number, term in enumerate(self.terms)
            if term.name in names
            and term.currency == asking.currency
            and term.model.rank < asking.model.rank
        ]
        for day in days_of(Period(since, until), self.zone_name):
            amount = sum(self._amount(number, day) for number in asked)
            if ENERGY in names:
                amount += sum(
                    window.cost
                    for window in self.use.within(day.start, day.end)
                    if window.currency == asking.currency
                )
            yield amount


def days_of(period: Period, zone_name: str) -> list[Period]:
    """The local days that begin in a period."""
    edges = day_starts(period.start, period.end + timedelta(days=1), zone_name)
    return [Period(a, b) for a, b in pairwise(edges) if period.start <= a < period.end]


def days_due(
    touched: Iterable[Period], bills: Sequence[Period], zone_name: str, now: datetime
) -> list[datetime]:
    """Starts of the days that a touched period bears on and that have begun: whole billing months,
    and all of a bill that has a day in one of them."""
    months = {month for period in touched for month in _months_in(period, zone_name, now)}
    billed = [bill for bill in bills if any(intersect(bill, month) for month in months)]
    days = (day.start for period in (*months, *billed) for day in days_of(period, zone_name))
    return sorted({start for start in days if start < now})


def _months_in(period: Period, zone_name: str, now: datetime) -> Iterator[Period]:
    at, end = period.start, min(period.end, now)
    while at < end:
        month = billing_period(at, anchor_day=1, zone_name=zone_name)
        yield month
        at = month.end
