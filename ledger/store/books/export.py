"""Rows that exports are made of, as known at a cut-off, a page at a time from a cursor."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime

from ledger.domain.books.exported import (
    ExportedEntity,
    ExportedExtra,
    ExportedInvoice,
    ExportedLine,
    ExportedRow,
    ExportedSiteCost,
    ExportedTax,
    ExportedUsage,
    JournalHead,
    JournalLine,
)
from ledger.domain.cost.cost_sum import CostSum
from ledger.store.books.journal import JOURNAL
from ledger.store.cost.margin import MARGIN
from ledger.store.cost.site_costs import SITES
from ledger.store.queries import Connection, Query, load_queries

EXPORT = load_queries("books/export")
# What each part is read by, and what its lines are.
PARTS: Mapping[str, tuple[Query, type[ExportedRow]]] = {
    "journal": (JOURNAL["list_journal_lines"], JournalLine),
    "invoices": (EXPORT["find_issued_invoices"], ExportedInvoice),
    "invoice_lines": (EXPORT["find_issued_lines"], ExportedLine),
    "invoice_taxes": (EXPORT["find_issued_taxes"], ExportedTax),
    "usage": (EXPORT["find_usage"], ExportedUsage),
    "extras": (EXPORT["find_extras"], ExportedExtra),
    "costs": (MARGIN["sum_cost_lines"], CostSum),
    "site_costs": (SITES["list_site_days"], ExportedSiteCost),
}


async def find_entity(
    connection: Connection, *, entity_id: str, at: datetime
) -> ExportedEntity | None:
    """The entity as it is named at a moment, or None."""
    return await EXPORT["find_entity"].first(connection, ExportedEntity, entity_id=entity_id, at=at)


async def find_journal_head(connection: Connection, **within: object) -> JournalHead:
    """What the postings of a period name."""
    (head,) = await JOURNAL["find_journal_head"].values(connection, JournalHead, **within)
    return head


def read_part(
    connection: Connection, part: str, size: int, **given: object
) -> AsyncIterator[Sequence[ExportedRow]]:
    """A part's rows in the order of its files, `size` at a time; needs a transaction.

    `given` says more than some parts ask for.
    """
    query, kind = PARTS[part]
    asked = {name: given[name] for name in query.parameters}
    return query.value_pages(connection, kind, size, **asked)
