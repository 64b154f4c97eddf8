"""What electricity costs at a site: prices one by one, or by time of use."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Self

from pydantic import Field, model_validator

from ledger.wire.errors import problem_at
from ledger.wire.fields import Name
from ledger.wire.input_fields import (
    AMOUNT_MAX,
    LAST_DAY,
    LAST_MOMENT,
    Amount,
    Currency,
    DatedInstant,
    Day,
    Identifier,
)
from ledger.wire.inputs import InputModel
from ledger.wire.rules import SizeRule

# What a month's rows of a schedule say: the number of a rate for each local hour of the day.
RateNumber = Annotated[int, Field(ge=0, le=99)]
HoursOfDay = Annotated[tuple[RateNumber, ...], SizeRule(), Field(min_length=24, max_length=24)]
Months = Annotated[tuple[HoursOfDay, ...], SizeRule(), Field(min_length=12, max_length=12)]


def check_schedule(weekday: Months | None, weekend: Months | None, rates: int) -> None:
    """Refuse schedules that name other rates than there are, or none where there are several."""
    if weekday is None and rates > 1:
        raise problem_at("weekday", "nothing", "say when which rate holds: 12 rows of 24 numbers")
    for name, months in (("weekday", weekday), ("weekend", weekend)):
        for month, row in enumerate(months or (), 1):
            wrong = [number for number in row if number >= rates]
            if wrong:
                action = f"name a rate from 0 to {rates - 1} in month {month}"
                raise problem_at(name, wrong[0], action)


class NewTariff(InputModel):
    """A contract for electricity at a site; its prices are entered apart."""

    tariff_id: Identifier
    facility_id: Identifier
    name: Name
    currency: Currency


class SeriesPeriod(InputModel):
    """What a series says in [start, end); give `end` or `resolution_minutes`."""

    start: DatedInstant
    end: DatedInstant | None = None
    resolution_minutes: Annotated[int, Field(ge=1, le=60 * 24 * 366)] | None = None

    @model_validator(mode="after")
    def _check_end(self) -> Self:
        if (self.end is None) == (self.resolution_minutes is None):
            raise problem_at("end", self.end, "send either end or resolution_minutes")
        if self.end is not None and self.end <= self.start:
            raise problem_at("end", self.end.isoformat(), "send a time after start")
        if self.until > LAST_MOMENT:
            raise problem_at("end", self.until.isoformat(), f"send a time up to {LAST_DAY}")
        return self

    @property
    def until(self) -> datetime:
        """The end, given or reckoned from the resolution."""
        if self.end is not None:
            return self.end
        assert self.resolution_minutes is not None
        return self.start + timedelta(minutes=self.resolution_minutes)


class TariffPeriod(SeriesPeriod):
    """What energy costs in [start, end); negative prices are real.

    Give `end` or `resolution_minutes`, and one of the two prices.
    """

    price_per_mwh: Amount | None = None
    price_per_kwh: Amount | None = None

    @model_validator(mode="after")
    def _check_price(self) -> Self:
        if (self.price_per_mwh is None) == (self.price_per_kwh is None):
            raise problem_at(
                "price_per_mwh", self.price_per_mwh, "send either price_per_mwh or price_per_kwh"
            )
        if abs(self.per_mwh) > AMOUNT_MAX:
            action = f"send a price of at most {AMOUNT_MAX} for one MWh"
            raise problem_at("price_per_kwh", str(self.price_per_kwh), action)
        return self

    @property
    def per_mwh(self) -> Decimal:
        """The price of one MWh, exact."""
        if self.price_per_mwh is not None:
            return self.price_per_mwh
        assert self.price_per_kwh is not None
        return self.price_per_kwh.scaleb(3)


class TimeOfUsePrices(InputModel):
    """Prices of a kWh by month, kind of day and local hour of the site, from the first day to
    before `until`."""

    since: Day
    until: Day
    prices_per_kwh: Annotated[tuple[Amount, ...], SizeRule(), Field(min_length=1, max_length=100)]
    weekday: Months
    weekend: Months

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.since < self.until:
            raise problem_at("until", self.until.isoformat(), f"send a day after {self.since}")
        if (self.until - self.since).days > 5 * 366:
            raise problem_at("until", self.until.isoformat(), "send at most five years at once")
        check_schedule(self.weekday, self.weekend, len(self.prices_per_kwh))
        return self


class NewTariffPrices(InputModel):
    """Prices of a tariff, one by one (three years of quarter hours at most) or by time of use."""

    tariff_id: Identifier
    prices: Annotated[
        tuple[TariffPeriod, ...],
        SizeRule(),
        Field(max_length=4 * 24 * 366 * 3),
    ] = ()
    time_of_use: TimeOfUsePrices | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.prices) == (self.time_of_use is not None):
            raise problem_at("prices", len(self.prices), "send either prices or time_of_use")
        return self
