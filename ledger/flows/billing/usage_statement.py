"""Writes what lines of an invoice were used for, event by event, page by page."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence, Set

from ledger.domain.billing.issued import IssuedLine, StoredInvoice
from ledger.exports.usage_statement import (
    LEAVES,
    Extras,
    statement_head,
    statement_lines,
    statement_without_events,
)
from ledger.flows.billing.trace import FIRST, events_of
from ledger.store.billing.invoice import list_lines
from ledger.store.metering.extras import find_extras_at
from ledger.store.queries import Connection
from ledger.wire.extras import EXTRAS, PART_OF

PAGE = 5_000


async def usage_statement(
    connection: Connection,
    invoice: StoredInvoice,
    lines: Sequence[IssuedLine],
    customer_id: str | None = None,
) -> AsyncGenerator[bytes, None]:
    """The file of some lines in parts, of what was stored up to the invoice's cut-off: the same
    whenever asked; of all who used something, or of one customer.

    UnavailableError where the file of an archived day is not there.
    """
    yield statement_head().encode()
    every = await list_lines(connection, invoice_id=invoice.invoice_id)
    for line in lines:
        if customer_id not in (None, line.key.used_by or invoice.customer_id):
            continue
        async for part in _of_line(connection, invoice, line, _apart(line, every)):
            yield part.encode()


def _apart(line: IssuedLine, every: Sequence[IssuedLine]) -> set[str]:
    """Parts of a line's meter that are lines of their own."""
    return {
        each.key.meter
        for each in every
        if PART_OF.get(each.key.meter) == line.key.meter
        and (each.key.model, each.key.tier) == (line.key.model, line.key.tier)
    }


async def _of_line(
    connection: Connection, invoice: StoredInvoice, line: IssuedLine, apart: Set[str]
) -> AsyncIterator[str]:
    if line.key.meter not in LEAVES and line.key.meter not in EXTRAS:
        yield statement_without_events(invoice, line)
        return
    after = FIRST
    while True:
        events = await events_of(connection, invoice, line, after=after, limit=PAGE)
        extras: Extras = {}
        if apart or line.key.meter in EXTRAS:
            extras = await find_extras_at(connection, [each.stored_at for each in events])
        yield statement_lines(invoice, line, events, extras, apart)
        if len(events) < PAGE:
            return
        after = events[-1].stored_at
