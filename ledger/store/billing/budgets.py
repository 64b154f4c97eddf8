"""Writes budgets, holds what is reserved of them, and counts what is used."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
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
class EnteredBudget:
    """A budget whose earlier use is not counted for good, the numbers it was entered under, and one
    behind which every batch sees it."""

    budget_id: str
    entered: Sequence[int]
    seen_behind: int


@dataclass(frozen=True, slots=True)
class EarlierUse:
    """What was used in the period of a budget that begins then."""

    period_start: datetime
    used: Decimal


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
    batch_seq: int,
    now: datetime,
) -> None:
    """Count usage in its budgets and settle reservations; locks their rows until the end."""
    await BUDGETS["count_use"].value(
        connection, moves=moves, named=named, batch_seq=batch_seq, at=now
    )


async def enter_balances(connection: Connection, budget_id: str, *, batch_seq: int) -> None:
    """Begin a budget that is entered under a number with what is stored of its periods."""
    await BUDGETS["enter_balances"].value(connection, budget_id=budget_id, batch_seq=batch_seq)


async def enter_again(
    connection: Connection, customers: Collection[str], *, batch_seq: int
) -> None:
    """Note budgets in which other customers count since a number, to be counted again."""
    await BUDGETS["enter_again"].run(connection, customers=sorted(customers), batch_seq=batch_seq)


async def list_entered_budgets(connection: Connection) -> list[EnteredBudget]:
    """Budgets whose earlier use is not counted for good."""
    return await BUDGETS["list_entered_budgets"].values(connection, EnteredBudget)


async def is_any_open(connection: Connection, batch_seq: int) -> bool:
    """Whether a batch up to this number has not ended."""
    return bool(await BUDGETS["is_any_open"].value(connection, batch_seq=batch_seq))


async def list_earlier_use(
    connection: Connection, budget_id: str, *, batch_seq: int
) -> list[EarlierUse]:
    """What was used in each of its last periods, as known at a cut-off."""
    return await BUDGETS["list_earlier_use"].values(
        connection, EarlierUse, budget_id=budget_id, batch_seq=batch_seq
    )


async def count_entered_budget(
    connection: Connection, budget: EnteredBudget, uses: Sequence[EarlierUse], *, batch_seq: int
) -> bool:
    """Count what was used up to a cut-off, for good; False where another was first."""
    return bool(
        await BUDGETS["count_entered_budget"].value(
            connection,
            budget_id=budget.budget_id,
            entered=budget.entered,
            batch_seq=batch_seq,
            periods=[use.period_start for use in uses],
            uses=[use.used for use in uses],
        )
    )


async def find_customer_named(
    connection: Connection, name: str, *, at: datetime
) -> NamedCustomer | None:
    """The customer of a name at a moment, or None."""
    return await BUDGETS["find_customer_named"].first(connection, NamedCustomer, name=name, at=at)
