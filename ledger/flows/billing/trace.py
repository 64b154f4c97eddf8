"""Follows an invoice line back to its events, each said in words."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from ledger.domain.billing.issued import IssuedLine, StoredInvoice
from ledger.domain.billing.traced import TracedEvent
from ledger.domain.errors import NotFoundError
from ledger.domain.metering.fact import Kind, flag_names, status_of, tier_source
from ledger.domain.metering.usage_mark import known_leaves
from ledger.flows.metering.find_facts import trace_line
from ledger.store.billing.invoice import list_invoices, list_lines
from ledger.store.metering.extras import find_extras_at
from ledger.store.queries import Connection

# Before the first event of all.
FIRST = (0, -1)


@dataclass(frozen=True, slots=True)
class LineTrace:
    """A line of an invoice, and a page of its events in stored order.

    `extras` are those of its events that have any, by where they are stored. `after` is where the
    next page begins: None where there is none.
    """

    invoice: StoredInvoice
    line: IssuedLine
    events: tuple[TracedEvent, ...]
    extras: Mapping[tuple[int, int], Mapping[str, int]]
    after: tuple[int, int] | None

    def events_json(self) -> list[dict[str, object]]:
        """The events in words."""
        return [event_json(each, self.extras.get(each.stored_at, {})) for each in self.events]


async def find_invoice(connection: Connection, name: str) -> StoredInvoice:
    """An invoice by its number or id; NotFoundError where there is none."""
    invoices = await list_invoices(connection, named=name, limit=1)
    if not invoices:
        raise NotFoundError(f"There is no invoice {name}.", "List them to see their numbers.")
    return invoices[0]


async def find_line(connection: Connection, invoice: StoredInvoice, line_no: int) -> IssuedLine:
    """A line of an invoice by its number; NotFoundError names what lines are."""
    lines = await list_lines(connection, invoice_id=invoice.invoice_id)
    line = next((each for each in lines if each.line_no == line_no), None)
    if line is None:
        there = f"It has lines 1 to {len(lines)}." if lines else "It has none."
        raise NotFoundError(f"Invoice {invoice.number} has no line {line_no}.", there)
    return line


async def events_of(
    connection: Connection,
    invoice: StoredInvoice,
    line: IssuedLine,
    *,
    after: tuple[int, int],
    limit: int,
) -> list[TracedEvent]:
    """Events behind a line up to the invoice's cut-off, in stored order."""
    return await trace_line(
        connection,
        line=line,
        customer_id=line.key.used_by or invoice.customer_id,
        subscription_id=invoice.subscription_id,
        batch_seq=invoice.cut_off_seq,
        after=after,
        limit=limit,
    )


async def trace_invoice_line(
    connection: Connection,
    *,
    invoice: StoredInvoice,
    line_no: int,
    after: tuple[int, int] = FIRST,
    limit: int,
) -> LineTrace:
    """The events behind a line up to the invoice's cut-off; NotFoundError names what lines are."""
    line = await find_line(connection, invoice, line_no)
    events = await events_of(connection, invoice, line, after=after, limit=limit + 1)
    shown = tuple(events[:limit])
    extras = await find_extras_at(connection, [each.stored_at for each in shown])
    rest = shown[-1].stored_at if len(events) > limit else None
    return LineTrace(invoice, line, shown, extras, rest)


def event_json(event: TracedEvent, extras: Mapping[str, int]) -> dict[str, object]:
    """An event with its extras in words, with None for a count that it did not say."""
    said = asdict(event)
    return {
        **said,
        **known_leaves(said, event.flags),
        "extras": dict(extras),
        "kind": Kind(event.kind).name.lower(),
        "flags": flag_names(event.flags),
        "tier_source": tier_source(event.flags).name.lower(),
        "status": status_of(event.flags),
    }
