"""The shapes of answers about budgets and reservations, as the OpenAPI document says them."""

from typing import Literal

from ledger.wire.answer_fields import ClosedModel, Currency, Moment, Number
from ledger.wire.answers import Dated
from ledger.wire.budget_inputs import PeriodName, UnitName


class Budget(Dated):
    """What of a customer's usage may come to in a period; null is any project, key, agent, run."""

    budget_id: str
    customer_id: str
    project_id: str | None
    api_key_id: str | None
    agent_id: str | None
    agent_run_id: str | None
    period: PeriodName
    anchor_day: int
    zone: str
    unit: UnitName
    currency: Currency | None
    amount: Number
    times_own_mean: Number | None
    hard: bool
    alert_percents: list[int]


class BudgetBalance(ClosedModel):
    """What of a budget is used and held in a period, or by a run; `left` may be below zero."""

    budget_id: str
    customer_id: str
    agent_run_id: str
    period_start: Moment
    unit: UnitName
    currency: Currency | None
    used: Number
    held: Number
    ceiling: Number
    left: Number


class BudgetAlert(ClosedModel):
    """That so many percent of a budget were used, that a reservation did not fit (`refused`), or
    that far more than is usual was used, or asked for (`runaway`)."""

    budget_id: str
    customer_id: str
    agent_run_id: str
    period_start: Moment
    kind: Literal["used", "refused", "runaway"]
    percent: int
    used: Number
    held: Number
    ceiling: Number
    noticed_at: Moment


class Reservation(ClosedModel):
    """What was held, and how it ended; `held` is what of it still is. `extras_max` is the most of
    each extra, null where nobody said: then tokens may be of any part."""

    reservation_id: str
    customer_id: str
    model: str | None
    agent_id: str | None
    agent_run_id: str | None
    input_tokens_max: int
    output_tokens_max: int
    extras_max: dict[str, int] | None
    reserved_at: Moment
    expires_at: Moment
    state: Literal["held", "settled", "released", "expired"]
    ended_at: Moment | None


class Hold(ClosedModel):
    """What is held of a budget in a period; `left` is what others may still hold, if known."""

    budget_id: str
    agent_run_id: str
    unit: UnitName
    period_start: Moment
    amount: Number
    left: Number | None


class Shortfall(ClosedModel):
    """What was needed of a budget, and what there is of it."""

    budget_id: str
    agent_run_id: str
    period_start: Moment
    unit: UnitName
    currency: str | None
    needed: Number
    ceiling: Number
    used: Number
    held: Number
    left: Number
    reason: Literal["refused", "runaway"]


class Held(ClosedModel):
    """A reservation that was granted; without holds no budget asks for any."""

    reservation_id: str
    customer_id: str
    expires_at: Moment
    holds: list[Hold]


class ReleasedReservation(ClosedModel):
    """How a reservation has ended."""

    reservation_id: str
    customer_id: str
    state: Literal["settled", "released", "expired"]
