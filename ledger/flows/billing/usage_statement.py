"""Writes what lines of an invoice were used for, event by event, page by page."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from ledger.domain.billing.issued import IssuedLine, StoredInvoice
from ledger.exports.usage_statement import (
    LEAVES,
    statement_head,
    statement_lines,
    statement_without_events,
)
from ledger.flows.billing.trace import FIRST
from ledger.flows.metering.find_facts import trace_line
from ledger.store.queries import Connection

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
    for line in lines:
        if customer_id not in (None, line.key.used_by or invoice.customer_id):
            continue
        async for part in _of_line(connection, invoice, line):
            yield part.encode()


async def _of_line(
    connection: Connection, invoice: StoredInvoice, line: IssuedLine
) -> AsyncIterator[str]:
    if line.key.meter not in LEAVES:
        yield statement_without_events(invoice, line)
        return
    after = FIRST
    while True:
        events = await trace_line(
            connection,
            line=line,
            customer_id=line.key.used_by or invoice.customer_id,
            subscription_id=invoice.subscription_id,
            batch_seq=invoice.cut_off_seq,
            after=after,
            limit=PAGE,
        )
        yield statement_lines(invoice, line, events)
        if len(events) < PAGE:
            return
        after = events[-1].stored_at
