"""Reads what does not agree between usage, charges, journal and invoices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from ledger.domain.money import MINOR_DIGITS
from ledger.store.cost.allocations import DayOf
from ledger.store.metering.extras import sum_filed_extras
from ledger.store.queries import Connection, load_queries

BOOKS = (
    load_queries("books/check_books")
    | load_queries("books/check_costs")
    | load_queries("books/check_periods")
)
# What is checked, by a name, and the query that finds what is wrong, in the order of the books.
PROOFS: Mapping[str, str] = {
    "extra_delta": "find_wrong_extras",
    "charge": "find_unrated",
    "usage_day": "find_wrong_usage_days",
    "key_day": "find_wrong_tallies",
    "price": "find_wrong_charges",
    "period": "find_wrong_periods",
    "revenue": "find_unbooked_revenue",
    "cost_line": "find_lost_costs",
    "cost_share": "find_wrong_shares",
    "cost_day": "find_wrong_cost_days",
    "pool_day": "find_wrong_pool_days",
    "meter_day": "find_wrong_meter_days",
    "cost": "find_unbooked_cost",
    "gpu_part": "find_wrong_gpu_parts",
    "site_cost": "find_unbooked_site_costs",
    "utility_bill": "find_unbooked_bills",
    "control": "find_wrong_controls",
    "journal_entry": "find_unbalanced",
    "carried_balance": "find_wrong_carried",
    "month": "find_wrong_months",
    "posting": "find_without_customer",
    "invoice": "find_wrong_invoices",
    "invoice_line": "find_wrong_lines",
    "invoice_tax": "find_wrong_taxes",
    "credit_note": "find_wrong_credits",
    "payment": "find_wrong_payments",
    "credit_grant": "find_wrong_grants",
    "billed": "find_lines_unlike_charges",
    "invoiced": "find_invoices_unlike_journal",
}


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One figure of one place that is not what it must be, both as text."""

    table: str
    where: str
    window_start: datetime | None
    name: str
    expected: str
    stored: str


@dataclass(frozen=True, slots=True)
class Proof:
    """How many figures of one kind are wrong, and the first of them."""

    differing: int
    first: Sequence[Disagreement]


async def prove(connection: Connection, table: str, *, most: int) -> Proof:
    """One of PROOFS, over what the connection's transaction sees."""
    given: dict[str, object] = {"most": most}
    if table in {"invoice_line", "invoice_tax"}:
        given |= {"currencies": list(MINOR_DIGITS), "digits": list(MINOR_DIGITS.values())}
    if table == "extra_delta":
        given |= await _filed_extras(connection)
    rows = await BOOKS[PROOFS[table]].rows(connection, **given)
    first = [
        Disagreement(
            table, row["place"], row["window_start"], row["name"], row["expected"], row["stored"]
        )
        for row in rows
    ]
    return Proof(rows[0]["differing"] if rows else 0, first)


async def _filed_extras(connection: Connection) -> dict[str, object]:
    # Before anything is read, so that what was moved away by then is seen as moved.
    await BOOKS["lock_extras"].run(connection)
    sums = await sum_filed_extras(connection)
    return {
        "usage_key_ids": sums["usage_key_id"].to_list(),
        "windows": sums["window_start"].to_list(),
        "meters": sums["meter"].to_list(),
        "quantities": [Decimal(quantity) for quantity in sums["quantity"]],
    }


class DayUsage(NamedTuple):
    """What lines of usage of a key come to on a day; costs are whole numbers of 1e-12."""

    scope: str
    usage_key_id: int
    currency: str
    gpu_terms: str
    busy_s: int
    device_metered_mj: int
    device_estimated_mj: int
    host_mj: int
    overhead_mj: int
    device_cost: int
    overhead_cost: int
    gpu_cost: int


async def sum_thin_day(connection: Connection, day: DayOf) -> list[DayUsage]:
    """What a day says of each usage key, as it stands."""
    return await BOOKS["sum_thin_day"].values(
        connection, DayUsage, entity_id=day.entity_id, day_start=day.day_start
    )


async def count_states(connection: Connection) -> dict[str, int]:
    """Usage windows by what became of them: rated, unpriced, suspense, not_yet_rated."""
    row = await BOOKS["count_states"].row(connection)
    assert row is not None
    return {name: int(row[name]) for name in ("rated", "unpriced", "suspense", "not_yet_rated")}
