"""Rows that exports are made of, as known at a cut-off, a page at a time from a cursor."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from ledger.store.books.journal import JOURNAL
from ledger.store.cost.margin import COST_COUNTS, MARGIN
from ledger.store.operations import USAGE_COUNTS
from ledger.store.queries import Connection, Query, load_queries, with_counts

EXPORT = load_queries("books/export")
# What each part is read by, and which of its sums are whole numbers without end.
PARTS: Mapping[str, tuple[Query, tuple[str, ...]]] = {
    "journal": (JOURNAL["list_journal_lines"], ()),
    "invoices": (EXPORT["find_issued_invoices"], ()),
    "invoice_lines": (EXPORT["find_issued_lines"], ("quantity",)),
    "invoice_taxes": (EXPORT["find_issued_taxes"], ()),
    "usage": (EXPORT["find_usage"], USAGE_COUNTS),
    "costs": (MARGIN["sum_cost_lines"], COST_COUNTS),
}


@dataclass(frozen=True, slots=True)
class ExportedEntity:
    """An entity as its exports name it."""

    entity_id: str
    name: str
    currency: str
    zone: str


async def find_entity(
    connection: Connection, *, entity_id: str, at: datetime
) -> ExportedEntity | None:
    """The entity as it is named at a moment, or None."""
    row = await EXPORT["find_entity"].row(connection, entity_id=entity_id, at=at)
    return ExportedEntity(**row) if row else None


async def find_journal_head(connection: Connection, **within: Any) -> asyncpg.Record:
    """accounts, currencies and the moment of the `first` posting of a period."""
    row = await JOURNAL["find_journal_head"].row(connection, **within)
    assert row is not None
    return row


async def read_part(
    connection: Connection, part: str, size: int, **given: Any
) -> AsyncIterator[list[dict[str, Any]]]:
    """A part's rows in the order of its files, `size` at a time; needs a transaction.

    `given` says more than some parts ask for.
    """
    query, counts = PARTS[part]
    asked = {name: given[name] for name in query.parameters}
    async for page in query.pages(connection, size, **asked):
        yield with_counts(page, counts)
