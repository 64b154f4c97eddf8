"""What a site costs beside energy at its price and hardware: kinds of cost are rows with a name."""

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ledger.wire.errors import FieldError, problem_at
from ledger.wire.fields import Names
from ledger.wire.input_fields import Amount, Currency, Identifier, Label, Price
from ledger.wire.inputs import DatedInput, InputModel
from ledger.wire.rules import SizeRule
from ledger.wire.tariff_inputs import Months, check_schedule

ENERGY = "electricity"
UTILITY_BILL = "utility bill"
SITE_COST_KINDS = ("standing", "demand", "tiers", "percent", "bill")
PERCENT_MAX = 1_000


def _share(value: Decimal) -> Decimal:
    if not 0 < value <= 1:
        raise FieldError("send a share above 0, at most 1")
    return value


def _percent(value: Decimal) -> Decimal:
    if not 0 <= value <= PERCENT_MAX:
        raise FieldError(f"send a percentage from 0 to {PERCENT_MAX}")
    return value


def _above_zero(value: Decimal) -> Decimal:
    if value <= 0:
        raise FieldError("send a number above 0")
    return value


Share = Annotated[Amount, AfterValidator(_share)]
Percent = Annotated[Amount, AfterValidator(_percent)]
Quantity = Annotated[Amount, AfterValidator(_above_zero)]


class RateTier(InputModel):
    """A price of a kW or kWh, for what is above the tier before, `up_to` a quantity of the month;
    the last tier has no end."""

    price: Amount
    up_to: Quantity | None = None


Tiers = Annotated[tuple[RateTier, ...], SizeRule(), Field(min_length=1, max_length=50)]


class TimedRates(InputModel):
    """Rates in tiers, and which of them holds in each month and local hour, on weekdays and at
    weekends (12 rows of 24 numbers); without schedules it is the only one."""

    rates: Annotated[tuple[Tiers, ...], SizeRule(), Field(min_length=1, max_length=100)]
    weekday: Months | None = None
    weekend: Months | None = None

    @model_validator(mode="after")
    def _check_rates(self) -> Self:
        for tiers in self.rates:
            ends = [tier.up_to for tier in tiers[:-1]]
            if tiers[-1].up_to is not None or None in ends:
                raise problem_at("rates", "a tier", "end each tier but the last with up_to")
            known = [end for end in ends if end is not None]
            if known != sorted(set(known)):
                raise problem_at("rates", "tiers out of order", "send tiers by growing up_to")
        if (self.weekday is None) != (self.weekend is None):
            raise problem_at("weekend", self.weekend, "send weekday and weekend, or neither")
        check_schedule(self.weekday, self.weekend, len(self.rates))
        return self


class StandingTerms(InputModel):
    """An amount for every hour, day or month, or for every hour of each GPU of the site, and the
    share of it that is this site's."""

    amount: Price
    per: Literal["hour", "day", "month", "gpu_hour"]
    share: Share = Decimal(1)


class DemandTerms(TimedRates):
    """A price of the billing month's peak kW, of each rate apart: energy over so many minutes."""

    window_minutes: Literal[15, 30, 60] = 15


class TierTerms(TimedRates):
    """Prices of kWh by what the billing month has used, of each rate apart; the first tier is what
    the tariff's own prices charge, so this is the difference to it."""


class PercentTerms(InputModel):
    """A percentage `of` other costs of the site, such as a tax; electricity is its energy."""

    percent: Percent
    of: Annotated[Names, Field(min_length=1)]


class BillTerms(InputModel):
    """What was billed `of` kinds of the site's cost, for the time it is valid: the difference to
    what they came to is spread over the days they came on."""

    amount: Amount
    of: Annotated[Names, Field(min_length=1)]


class NewSiteCost(DatedInput):
    """A cost of a site under a name, by one rule: standing, demand, tiers, percent or bill."""

    facility_id: Identifier
    name: Label
    currency: Currency
    standing: StandingTerms | None = None
    demand: DemandTerms | None = None
    tiers: TierTerms | None = None
    percent: PercentTerms | None = None
    bill: BillTerms | None = None

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        given = [kind for kind in SITE_COST_KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise problem_at(
                "standing",
                " and ".join(given) or "nothing",
                f"send one of {', '.join(SITE_COST_KINDS)}",
            )
        if self.name == ENERGY:
            raise problem_at("name", self.name, "use another name: energy is priced by the tariff")
        if self.name == UTILITY_BILL:
            raise problem_at("name", self.name, "use another name, or enter a utility bill")
        terms = self.terms
        if isinstance(terms, PercentTerms | BillTerms) and self.name in terms.of:
            raise problem_at(f"{given[0]}.of", self.name, "leave it out: a cost is not of itself")
        if self.bill is not None and self.valid_to is None:
            raise problem_at("valid_to", "nothing", "say until when the bill is")
        return self

    @property
    def kind(self) -> str:
        """Its rule."""
        return next(kind for kind in SITE_COST_KINDS if getattr(self, kind) is not None)

    @property
    def terms(self) -> InputModel:
        """What its rule goes by."""
        terms: InputModel = getattr(self, self.kind)
        return terms
