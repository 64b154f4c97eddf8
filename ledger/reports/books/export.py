"""Reads what an export is made of, all of it at one cut-off, and writes it as it is read."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from ledger.domain.books.exported import ExportedMargin, ExportedRow, JournalHead
from ledger.domain.errors import InvalidInputError, MissingInputError, NotFoundError
from ledger.exports import EXPORT_FORMATS
from ledger.exports.form import ExportFormat, ExportScope
from ledger.reports.cost.margin import margin_report, recall_for_margin
from ledger.reports.cost.margin_rows import MarginRow
from ledger.reports.stream import PAGE_ROWS, snapshot, written
from ledger.store.books import export
from ledger.store.books.export import read_part
from ledger.store.connect import CutOff
from ledger.store.queries import Connection
from ledger.store.within import OfEntity

SERVICE, ISSUE = "service", "issue"
INVOICES_BY = (SERVICE, ISSUE)
OF_INVOICES = ("invoices", "invoice_lines", "invoice_taxes")
JOURNAL, MARGINS = "journal", "margins"
# What parts of days of cost lines are read for.
OF_LINES = ("costs", "usage", MARGINS)
MARGIN_BY = ("customer", "tier", "model", "agent")


@dataclass(frozen=True, slots=True)
class How:
    """`raw` leaves text as it is, for programs; `invoices_by` says which are of a period.

    Invoices and their lines are of usage in it (`service`), or were issued in it (`issue`).
    InvalidInputError where it is neither. A file without a row is `empty`, or refused.
    """

    raw: bool = False
    invoices_by: str = SERVICE
    empty: bool = True

    def __post_init__(self) -> None:
        if self.invoices_by not in INVOICES_BY:
            raise InvalidInputError(
                f"Invoices are not chosen by {self.invoices_by!r}.",
                f"Choose by {' or '.join(INVOICES_BY)}.",
                "invoices_by",
            )


@dataclass(frozen=True, slots=True)
class BooksOf:
    """The books of an entity over [since, until) as known at a cut-off."""

    entity_id: str
    since: datetime
    until: datetime
    cut_off: CutOff

    def within(self) -> dict[str, Any]:
        """The entity and the period, by their names."""
        return {"entity_id": self.entity_id, "since": self.since, "until": self.until}


async def export_file(
    connection: Connection, format_name: str, books: BooksOf, how: How = How()
) -> AsyncGenerator[bytes, None]:
    """A file in parts, of one snapshot; a cut-off always gives the same bytes.

    InvalidInputError names an unknown format, NotFoundError an unknown entity; a margin whose cost
    is incomplete is refused as the margin report refuses it, MissingInputError where nothing is to
    be written and that is not wanted. All of them come before any part.
    """
    export_format = find_format(format_name)
    if export_format.part in OF_LINES:
        await recall_for_margin(
            connection,
            OfEntity(
                entity_id=books.entity_id,
                since=books.since,
                until=books.until,
                batch_seq=books.cut_off.batch_seq,
            ),
        )
    async with snapshot(connection):
        scope = await _scope(connection, export_format.part, books, how)
        pages = _read(connection, export_format.part, books, how)
        rest = written(pages, partial(export_format.lines, scope))
        first = await anext(rest, b"")
        if not (first or how.empty):
            raise MissingInputError("The period has nothing of it.", "Look at another period.")
        yield "".join(export_format.head(scope)).encode() + first
        async for part in rest:
            yield part


def find_format(name: str) -> ExportFormat:
    """The format of that name; InvalidInputError."""
    if name not in EXPORT_FORMATS:
        raise InvalidInputError(
            f"There is no export {name}.", f"Use {', '.join(EXPORT_FORMATS)}.", "format"
        )
    return EXPORT_FORMATS[name]


def _read(
    connection: Connection, part: str, books: BooksOf, how: How
) -> AsyncIterator[Sequence[ExportedRow]]:
    if part == MARGINS:
        return _margins(connection, books)
    given = {"by_service": how.invoices_by == SERVICE, "batch_seq": books.cut_off.batch_seq}
    return read_part(connection, part, PAGE_ROWS, by=MARGIN_BY, **books.within(), **given)


async def _scope(connection: Connection, part: str, books: BooksOf, how: How) -> ExportScope:
    entity_id, cut_off = books.entity_id, books.cut_off
    entity = await export.find_entity(connection, entity_id=entity_id, at=cut_off.drawn_at)
    if entity is None:
        raise NotFoundError(f"There is no entity {entity_id}.", "Enter it, or look at its id.")
    head = JournalHead()
    if part == JOURNAL:
        given = books.within() | {"batch_seq": cut_off.batch_seq}
        head = await export.find_journal_head(connection, **given)
    return ExportScope(
        entity_id=entity_id,
        entity_name=entity.name,
        currency=entity.currency,
        zone=entity.zone,
        since=books.since,
        until=books.until,
        journal=head,
        raw=how.raw,
    )


async def _margins(
    connection: Connection, books: BooksOf
) -> AsyncIterator[Sequence[ExportedMargin]]:
    # Idle is spread over all groups at once: these are held, their rows are not.
    report = await margin_report(connection, **books.within(), cut_off=books.cut_off, by=MARGIN_BY)
    rows = report.rows
    for start in range(0, len(rows), PAGE_ROWS):
        yield [_margin(row, report.currency) for row in rows[start : start + PAGE_ROWS]]


def _margin(row: MarginRow, currency: str) -> ExportedMargin:
    customer, tier, model, agent = row.group
    return ExportedMargin(
        customer=customer,
        tier=tier,
        model=model,
        agent=agent,
        currency=currency,
        input_tokens=row.known["input_tokens"],
        input_cache_read=row.known["cache_read"],
        output_tokens=row.known["output_tokens"],
        unpriced_tokens=row.unpriced_tokens,
        energy_mj=row.energy_mj,
        revenue=row.revenue,
        electricity=row.electricity,
        gpu_cost=row.gpu_cost,
        cost_before_idle=row.cost_before_idle,
        idle_share=row.idle_share,
        site_share=row.site_share,
        cost=row.cost,
    )
