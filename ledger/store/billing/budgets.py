"""Writes budgets, holds what is reserved of them, and counts what is used."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from ledger.domain.billing.reservation import Ask
from ledger.store.dated import DatedTable
from ledger.store.queries import Connection, load_queries

BUDGETS = load_queries("billing/budgets")
BUDGET_ROWS = DatedTable(
    "budget",
    ("budget_id",),
    BUDGETS["find_open_budgets"],
    BUDGETS["supersede_budgets"],
    BUDGETS["insert_budget"],
)


@dataclass(frozen=True, slots=True)
class BudgetScope:
    """What a budget is of, and how it is counted: what never changes under its id."""

    customer_id: str
    project_id: str | None
    api_key_id: str | None
    agent_id: str | None
    agent_run_id: str | None
    period: str
    anchor_day: int
    zone: str
    unit: str
    currency: str | None


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of the ask of this number."""

    ask: int
    outcome: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NamedCustomer:
    """A customer, and whose it is."""

    customer_id: str
    entity_id: str


async def find_budget_scope(connection: Connection, budget_id: str) -> BudgetScope | None:
    """What a budget of this id is of, or None where there is none yet."""
    return await BUDGETS["find_budget_scope"].first(connection, BudgetScope, budget_id=budget_id)


async def reserve(connection: Connection, asks: Sequence[Ask], *, now: datetime) -> list[Answered]:
    """An answer to each, in one round trip; each fits, or nothing of it is held."""
    said = [{"ask": number, **asdict(ask)} for number, ask in enumerate(asks)]
    return await BUDGETS["reserve"].values(connection, Answered, asks=said, at=now)


async def release(
    connection: Connection, *, customer_id: str, reservation_id: str, now: datetime
) -> str | None:
    """How a reservation has ended, now or before; None where there is none."""
    state: str | None = await BUDGETS["release"].value(
        connection, customer_id=customer_id, reservation_id=reservation_id, at=now
    )
    return state


async def count_use(
    connection: Connection,
    moves: Sequence[Mapping[str, object]],
    named: Sequence[Mapping[str, object]],
    *,
    now: datetime,
) -> None:
    """Count usage in its budgets and settle reservations; locks their rows until the end."""
    await BUDGETS["count_use"].value(connection, moves=moves, named=named, at=now)


async def count_earlier_use(connection: Connection, budget_id: str) -> None:
    """Count in a budget what was used and stored before it was; locks its rows until the end."""
    await BUDGETS["count_earlier_use"].value(connection, budget_id=budget_id)


async def find_customer_named(
    connection: Connection, name: str, *, at: datetime
) -> NamedCustomer | None:
    """The customer of a name at a moment, or None."""
    return await BUDGETS["find_customer_named"].first(connection, NamedCustomer, name=name, at=at)
