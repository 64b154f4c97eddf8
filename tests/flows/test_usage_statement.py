"""A usage statement names every event behind every line, and adds up to it."""

import csv
import io
from collections import Counter

from ledger.flows.billing.invoice import issue_invoice
from ledger.flows.billing.usage_statement import usage_statement
from ledger.store.billing import invoice as store
from ledger.store.queries import Connection
from tests.flows.test_invoice_trace import AUGUST, SEPTEMBER, on_a_card
from tests.support.usage import AUTHOR, Gate, attempt, correction, keyed, open_books


async def rows_of(connection: Connection) -> list[dict[str, str]]:
    (invoice,) = await store.list_invoices(connection)
    lines = await store.list_lines(connection, invoice_id=invoice.invoice_id)
    parts = [part async for part in usage_statement(connection, invoice, lines)]
    again = [part async for part in usage_statement(connection, invoice, lines)]
    assert parts == again
    return list(csv.DictReader(io.StringIO(b"".join(parts).decode(), newline="")))


async def test_every_line_adds_up_to_its_events(worker: Connection) -> None:
    await open_books(worker)
    gate = Gate(worker)
    await on_a_card(worker, "acme")
    await gate.send(keyed(*(attempt(f"e{n}", minute=n, tokens=10 + n) for n in range(20))))
    await gate.send(keyed(correction("c1", of="e1", revision=1, tokens=1)))
    await gate.send(keyed(attempt("=cmd|evil", minute=30)))
    issued = await issue_invoice(
        worker, subscription_id="sub-acme", moment=AUGUST, now=SEPTEMBER, author=AUTHOR
    )
    await gate.send(keyed(attempt("late", minute=31)))
    rows = await rows_of(worker)
    lines = await store.list_lines(worker, invoice_id=issued.invoice_id)
    sums: Counter[str] = Counter()
    for row in rows:
        sums[row["line_no"]] += int(row["quantity"])
    assert sums == {str(line.line_no): line.quantity for line in lines}
    named = {row["event_id"] for row in rows}
    assert {"e0", "e1", "c1", "e19", "'=cmd|evil"} <= named
    assert "late" not in named
    assert {row["invoice"] for row in rows} == {issued.number}
