"""An invoice line leads back to the events it came from, and to no others."""

from datetime import UTC, datetime
from typing import Any

from ledger.domain.billing.invoice import InvoiceLine
from ledger.domain.billing.traced import TracedEvent
from ledger.flows.billing.invoice import issue_invoice, pending_adjustments
from ledger.flows.pricing.rate import rate
from ledger.flows.reference.enter import enter_price, enter_rate_card, enter_subscription
from ledger.store.billing import invoice as store
from ledger.store.billing.trace import find_runs, trace_events
from ledger.store.queries import Connection
from ledger.wire.inputs import NewSubscription, read_input
from ledger.wire.price_inputs import NewPrice, NewRateCard
from tests.support.usage import AUTHOR, Gate, attempt, correction, keyed, open_books, sequenced

SEPTEMBER = datetime(2026, 9, 2, tzinfo=UTC)
AUGUST = datetime(2026, 8, 6, 11, tzinfo=UTC)


async def on_a_card(connection: Connection, customer_id: str) -> None:
    prices = [
        {"meter": meter, "amount": "5", "valid_from": "2026-01-01T00:00:00Z"}
        for meter in ("input", "output")
    ]
    card = {"rate_card_id": f"card-{customer_id}", "entity_id": "factory", "name": "List"}
    subscription = {
        "subscription_id": f"sub-{customer_id}",
        "customer_id": customer_id,
        "rate_card_id": f"card-{customer_id}",
        "valid_from": "2026-01-01T00:00:00Z",
    }
    priced = read_input(NewRateCard, card | {"currency": "EUR", "prices": prices})
    await enter_rate_card(connection, priced, AUTHOR)
    await enter_subscription(connection, read_input(NewSubscription, subscription), AUTHOR)


async def pages(
    connection: Connection, line: InvoiceLine, batch_seq: int, limit: int
) -> list[TracedEvent]:
    found: list[TracedEvent] = []
    after = (0, -1)
    asked: dict[str, Any] = {"line": line, "customer_id": "acme", "batch_seq": batch_seq}
    runs = await find_runs(connection, **asked)
    while True:
        events = await trace_events(connection, **asked, runs=runs, after=after, limit=limit)
        if not events:
            return found
        found += events
        after = events[-1].stored_at


async def test_the_events_behind_a_line_add_up_to_it(worker: Connection) -> None:
    await open_books(worker)
    gate = Gate(worker)
    await on_a_card(worker, "acme")
    ours = [attempt(f"e{n}", minute=n, tokens=10 + n) for n in range(30)]
    await gate.send(keyed(*ours))
    await gate.send(sequenced([attempt(minute=40, tokens=100)]))
    await gate.send(keyed(attempt("other", customer_id="nobody-knows")))
    issued = await issue_invoice(
        worker, subscription_id="sub-acme", moment=AUGUST, now=SEPTEMBER, author=AUTHOR
    )
    await gate.send(keyed(correction("c1", of="e1", revision=1, tokens=1)))
    await rate(worker, now=SEPTEMBER)
    (invoice,) = await store.list_invoices(worker)
    cut_off = invoice.cut_off_seq
    lines = await store.list_lines(worker, invoice_id=issued.invoice_id)
    leaves = {"input_uncached": "uncached", "output_visible": "visible"}
    assert [line.key.meter for line in lines] == list(leaves)
    for line in lines:
        events = await pages(worker, line, cut_off, 7)
        assert sum(getattr(event, leaves[line.key.meter]) for event in events) == line.quantity
        ids = [event.event_id for event in events if event.event_id]
        assert sorted(ids) == sorted(event["id"] for event in ours)
        assert {event.source for event in events} == {"/gateways/eu-1", "/hosts/a"}


async def test_what_a_correction_changed_is_an_adjustment_of_the_exact_difference(
    worker: Connection,
) -> None:
    await open_books(worker)
    gate = Gate(worker)
    await on_a_card(worker, "acme")
    await gate.send(keyed(attempt("e1", tokens=1_000_000)))
    await issue_invoice(
        worker, subscription_id="sub-acme", moment=AUGUST, now=SEPTEMBER, author=AUTHOR
    )
    fixed = correction("c1", of="e1", revision=1, tokens=3_000_000)
    await gate.send(keyed(fixed))
    await gate.send(keyed(attempt("e2", tokens=0)))
    await rate(worker, now=SEPTEMBER)
    lines = await pending_adjustments(worker, subscription_id="sub-acme")
    assert [(line.key.meter, line.quantity) for line in lines] == [
        ("input_uncached", 2_000_000),
        ("output_visible", 4_000_000),
    ]


async def test_a_line_leads_only_to_the_events_charged_at_its_price(worker: Connection) -> None:
    await open_books(worker)
    gate = Gate(worker)
    await on_a_card(worker, "acme")
    await gate.send(keyed(*(attempt(f"e{n}", minute=n, tokens=10) for n in range(30))))
    dearer = {
        "rate_card_id": "card-acme",
        "meter": "output",
        "amount": "6",
        "valid_from": "2026-08-06T11:15:00Z",
    }
    await enter_price(worker, read_input(NewPrice, dearer), AUTHOR, replace=True)
    issued = await issue_invoice(
        worker, subscription_id="sub-acme", moment=AUGUST, now=SEPTEMBER, author=AUTHOR
    )
    (invoice,) = await store.list_invoices(worker)
    cut_off = invoice.cut_off_seq
    found: dict[tuple[str, object], tuple[int, int, int]] = {}
    for line in await store.list_lines(worker, invoice_id=issued.invoice_id):
        events = await pages(worker, line, cut_off, 100)
        minutes = [event.time.minute for event in events]
        found[line.key.meter, line.unit_amount] = (len(minutes), min(minutes), max(minutes))
    assert found == {
        ("input_uncached", 5): (30, 0, 29),
        ("output_visible", 5): (15, 0, 14),
        ("output_visible", 6): (15, 15, 29),
    }
