"""What budgets and balances have to say to whoever looks after them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ledger.store.queries import Connection, load_queries

ALERTS = load_queries("billing/alerts")


@dataclass(frozen=True, slots=True)
class BudgetAlert:
    """What a budget had to say of a period, or of a run, and how it stood then."""

    budget_id: str
    customer_id: str
    agent_run_id: str
    period_start: datetime
    kind: str
    percent: int
    used: Decimal
    held: Decimal
    ceiling: Decimal
    noticed_at: datetime


@dataclass(frozen=True, slots=True)
class LowBalance:
    """A customer's credit of which less can be used today than its rule says."""

    entity_id: str
    customer_id: str
    currency: str
    usable: Decimal
    low_balance: Decimal


async def list_new_alerts(
    connection: Connection, *, since: datetime, most: int
) -> Sequence[BudgetAlert]:
    """The last `most` alerts of budgets since a moment, newest first."""
    return await ALERTS["list_new_alerts"].values(connection, BudgetAlert, since=since, most=most)


async def list_low_balances(connection: Connection, *, now: datetime) -> Sequence[LowBalance]:
    """Balances that are low at a moment, by customer."""
    return await ALERTS["list_low_balances"].values(connection, LowBalance, now=now)
