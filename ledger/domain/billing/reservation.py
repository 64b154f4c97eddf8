"""What is asked to be held of budgets, and what is answered.

Invariant: what is granted is the most that it can come to, in every budget that it falls under.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from ledger.domain.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    LedgerError,
    MissingInputError,
    NotFoundError,
    OverBudgetError,
    Shortfall,
)
from ledger.domain.money import plain


@dataclass(frozen=True, slots=True)
class Ask:
    """A reservation that is asked for: `said` is its content, `customer` any name of whose it is.

    None in `only_customers` and `only_entity` binds to nobody.
    """

    reservation_id: str
    customer: str
    said: Mapping[str, object]
    expires_in_s: int
    actor: str
    only_customers: Sequence[str] | None = None
    only_entity: str | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """What is held of a budget; `left` is what others may still hold, None where nobody looked."""

    budget_id: str
    agent_run_id: str
    unit: str
    period_start: datetime
    amount: Decimal
    left: Decimal | None


@dataclass(frozen=True, slots=True)
class Held:
    """A reservation that was granted, now or before."""

    reservation_id: str
    customer_id: str
    expires_at: datetime
    holds: Sequence[Hold]


def answer_of(ask: Ask, outcome: str, detail: Mapping[str, Any]) -> Held | LedgerError:
    """What became of an ask, as the database says it: granted, or why it was not."""
    if outcome in {"held", "again"}:
        holds = [_hold(**each) for each in detail["holds"]]
        until = datetime.fromisoformat(detail["expires_at"])
        return Held(ask.reservation_id, detail["customer_id"], until, holds)
    if outcome == "over_budget":
        return _over_budget(ask, **detail)
    kind, wrong, remedy, where = _REFUSALS[outcome]
    named = {"id": ask.reservation_id, "customer": ask.customer, **detail}
    return kind(wrong.format(**named), remedy, where)


def _hold(period_start: str, amount: str, left: str | None, **values: str) -> Hold:
    known = None if left is None else Decimal(left)
    start = datetime.fromisoformat(period_start)
    return Hold(period_start=start, amount=Decimal(amount), left=known, **values)


def _over_budget(ask: Ask, **said: str) -> OverBudgetError:
    lacking = Shortfall(
        budget_id=said["budget_id"],
        agent_run_id=said["agent_run_id"],
        period_start=datetime.fromisoformat(said["period_start"]),
        unit=said["unit"],
        currency=said["currency"],
        needed=Decimal(said["needed"]),
        ceiling=Decimal(said["ceiling"]),
        used=Decimal(said["used"]),
        held=Decimal(said["held"]),
        reason=said["why"],
    )
    run = f" of run {lacking.agent_run_id}" if lacking.agent_run_id else ""
    runs_away = lacking.reason == "runaway"
    usual = ", which is what it may use by its own history" if runs_away else ""
    wait = "end the run" if run else "wait for the next period"
    unit = lacking.currency or lacking.unit
    end = f"Ask for less, {wait}, or raise the budget."
    return OverBudgetError(
        f"Reservation {ask.reservation_id} needs {plain(lacking.needed)} {unit} of budget"
        f" {lacking.budget_id}{run}, of whose {plain(lacking.ceiling)}{usual},"
        f" {plain(lacking.used)} are used and {plain(lacking.held)} held.",
        "Stop it, or raise times_own_mean of the budget." if runs_away else end,
        "input_tokens_max",
        shortfall=lacking,
    )


_REFUSALS: Mapping[str, tuple[type[LedgerError], str, str, str]] = {
    "unknown_customer": (
        NotFoundError,
        "There is no customer {customer}.",
        "Enter it first.",
        "customer_id",
    ),
    "forbidden": (
        ForbiddenError,
        "This key may not reserve for customer {customer}.",
        "Use a key of that customer.",
        "customer_id",
    ),
    "conflict": (
        ConflictError,
        "Reservation {id} is already recorded with other content.",
        "Use another id.",
        "reservation_id",
    ),
    "run_missing": (
        InvalidInputError,
        "Budget {budget_id} is of each run, and reservation {id} names none.",
        "Send agent_run_id.",
        "agent_run_id",
    ),
    "unpriced": (
        MissingInputError,
        "Budget {budget_id} is of money, and nothing says what reservation {id} can cost at most.",
        "Send a model that the customer's rate card prices, in the budget's currency.",
        "model",
    ),
}
