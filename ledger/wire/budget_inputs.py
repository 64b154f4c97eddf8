"""What people enter about budgets, and what is asked for before something is used."""

from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ledger.wire.errors import FieldError, problem_at
from ledger.wire.extras import EXTRAS, QUANTITY_MAX
from ledger.wire.fields import Name
from ledger.wire.input_fields import Amount, Currency, Identifier, Label, Positive, Price, Zone
from ledger.wire.inputs import DatedInput, InputModel
from ledger.wire.rules import SizeRule
from ledger.wire.usage import LEAF_TOKENS_MAX

TIMES_MAX = 1_000_000
ALERTS_MAX = 20
# Longer than any attempt runs: what is held for ever is held from everybody else.
EXPIRES_S, EXPIRES_S_MAX = 600, 86_400
PeriodName = Literal["hour", "day", "week", "month", "run", "ever"]
UnitName = Literal["money", "tokens", "requests"]


def _times(value: Decimal) -> Decimal:
    if not 1 <= value <= TIMES_MAX:
        raise FieldError(f"send a number from 1 to {TIMES_MAX}")
    return value


def _extra(name: str) -> str:
    if name not in EXTRAS:
        raise FieldError(f"send one of {', '.join(EXTRAS)}")
    return name


Tokens = Annotated[int, Field(ge=0, le=LEAF_TOKENS_MAX)]
Percent = Annotated[int, Field(ge=1, le=1_000)]


class NewBudget(DatedInput):
    """What of a customer's usage may come to in a period, in money, tokens or requests.

    It is of all the customer's usage, or of a project, key, agent or run of it. `run` is each run
    of an agent by itself, `ever` all of its validity; months begin on `anchor_day`, or on their
    last day. A `hard` one refuses reservations beyond it. With `times_own_mean` a period or run may
    use so many times what those before it did on average, and never more than `amount`. Alerts are
    given once a period, as so many percent of it are used.
    """

    budget_id: Identifier
    customer_id: Identifier
    project_id: Label | None = None
    api_key_id: Label | None = None
    agent_id: Label | None = None
    agent_run_id: Label | None = None
    period: PeriodName
    anchor_day: Annotated[int, Field(ge=1, le=31)] = 1
    zone: Zone | None = None
    unit: UnitName
    currency: Currency | None = None
    amount: Price
    times_own_mean: Annotated[Amount, AfterValidator(_times)] | None = None
    hard: bool = True
    alert_percents: Annotated[tuple[Percent, ...], SizeRule(), Field(max_length=ALERTS_MAX)] = (
        80,
        100,
    )

    @model_validator(mode="after")
    def _check_unit(self) -> Self:
        if self.unit != "money" and self.currency is not None:
            raise problem_at("currency", self.currency, "leave it out: only money has one")
        if self.unit != "money" and self.amount != self.amount.to_integral_value():
            raise problem_at("amount", self.amount, f"send a whole number of {self.unit}")
        if self.period != "month" and self.anchor_day != 1:
            raise problem_at("anchor_day", self.anchor_day, "leave it out: only months have one")
        return self


class ExtraMost(InputModel):
    """The most of an extra meter that usage to come may count. As text: `web_search_calls:5`."""

    meter: Annotated[Name, AfterValidator(_extra)]
    quantity: Annotated[int, Field(ge=0, le=QUANTITY_MAX)]

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, said: object) -> object:
        if not isinstance(said, str):
            return said
        meter, _, count = said.replace(" ", "").partition(":")
        if not (count.isascii() and count.isdigit() and len(count) < 19):
            raise FieldError("send a meter and the most of it, like web_search_calls:5")
        return {"meter": meter, "quantity": int(count)}


class NewReservation(InputModel):
    """The most that usage to come may be, held in every budget that it falls under.

    With `extras_max` it counts so much of these extras and nothing of others; without, any of its
    tokens may be of any part, and nothing is held for what is beside tokens.
    It ends as the usage event comes that names it (`reservation_id`), as it is released, or after
    `expires_in_s`. The same id with the same content is the same reservation.
    """

    reservation_id: Name
    customer_id: Label | None = None
    project_id: Label | None = None
    api_key_id: Label | None = None
    agent_id: Label | None = None
    agent_run_id: Label | None = None
    model: Label | None = None
    tier: Label | None = None
    adapter: Label | None = None
    region: Label | None = None
    requests: Positive = 1
    input_tokens_max: Tokens = 0
    output_tokens_max: Tokens = 0
    extras_max: (
        Annotated[tuple[ExtraMost, ...], SizeRule(), Field(max_length=len(EXTRAS))] | None
    ) = None
    expires_in_s: Annotated[int, Field(ge=1, le=EXPIRES_S_MAX)] = EXPIRES_S

    @model_validator(mode="after")
    def _check_something(self) -> Self:
        asked = any(each.quantity for each in self.extras_max or ())
        if not (self.input_tokens_max or self.output_tokens_max or asked):
            action = "send the most input or output tokens that it may use, one of them above 0"
            raise problem_at("input_tokens_max", 0, action)
        return self

    @model_validator(mode="after")
    def _check_extras(self) -> Self:
        named = [each.meter for each in self.extras_max or ()]
        for n, meter in enumerate(named):
            if meter in named[:n]:
                raise problem_at(f"extras_max.{n}.meter", meter, "send each meter once")
        return self


class ReservationRelease(InputModel):
    """Whose reservation is let go; a customer's key may leave its customer out."""

    customer_id: Label | None = None
