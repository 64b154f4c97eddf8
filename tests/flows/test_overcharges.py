"""What was charged too much goes back: on the next invoice, or by a credit note of its own."""

from decimal import Decimal
from typing import Any

import pytest

from ledger.flows.billing.invoice import issue_invoice, pending_adjustments, preview_invoice
from ledger.flows.billing.run import InvoiceRun, RunAsk, run_invoices
from ledger.flows.books.check_books import check_books
from ledger.flows.reference.end import end_entered
from ledger.flows.reference.enter import enter_price
from ledger.flows.reference.parties import change_entity
from ledger.store.billing.invoice import list_invoices
from ledger.store.queries import Connection
from ledger.store.standing import list_parked
from ledger.wire.ask_inputs import EndAsk
from ledger.wire.changes import EntityChange
from ledger.wire.inputs import read_input
from ledger.wire.price_inputs import NewPrice
from tests.flows.billing import (
    AUTHOR,
    DECEMBER,
    JANUARY,
    NOVEMBER,
    NOW,
    WINDOW,
    balance_of,
    registered,
    subscribed,
    treated,
)
from tests.support.books import Books, Tokens

MILLION = Tokens(uncached=1_000_000)
BACK, CHARGED = "FACTORY-C-2024-000001", "FACTORY-2024-000001"


async def priced(connection: Connection, amount: str, *, until: str | None = None) -> None:
    """What a million of input costs from the beginning on, until when."""
    right = {"rate_card_id": "card-acme", "meter": "input", "amount": amount}
    dates = {"valid_from": "2023-01-01T00:00:00Z", **({"valid_to": until} if until else {})}
    await enter_price(connection, read_input(NewPrice, right | dates), AUTHOR, replace=True)


async def invoiced(connection: Connection, price: str) -> Books:
    """November is invoiced at a price, and December used."""
    books = await subscribed(connection, prices=(price, "15"))
    await books.usage(WINDOW, MILLION)
    await issue_invoice(
        connection, subscription_id="sub-acme", moment=WINDOW, now=NOW, author=AUTHOR
    )
    return books


async def credits_apart(connection: Connection) -> None:
    said = {"entity_id": "factory", "overcharges": "credit_note", "valid_from": "2023-12-01"}
    await change_entity(connection, read_input(EntityChange, said), AUTHOR)


async def run(connection: Connection, **more: Any) -> InvoiceRun:
    return await run_invoices(connection, RunAsk("factory", DECEMBER, JANUARY, AUTHOR, **more))


async def documents(connection: Connection) -> dict[str, Decimal]:
    return {each.number: each.totals.payable for each in await list_invoices(connection)}


async def agree(connection: Connection) -> None:
    found = await check_books(connection)
    assert (found.differing, found.differences) == (0, [])


@pytest.mark.parametrize(
    ("apart", "come"),
    [
        pytest.param(False, {CHARGED: Decimal(15 - 10)}, id="next_invoice"),
        pytest.param(True, {CHARGED: Decimal(15), BACK: Decimal(-10)}, id="credit_note"),
    ],
)
async def test_who_stays_gets_it_off_the_next_invoice_or_by_a_note(
    worker: Connection, apart: bool, come: dict[str, Decimal]
) -> None:
    books = await invoiced(worker, "15")
    before = await documents(worker)
    await priced(worker, "5")
    await books.usage(DECEMBER, Tokens(uncached=3_000_000))
    if apart:
        await credits_apart(worker)
    draft = await preview_invoice(worker, subscription_id="sub-acme", moment=DECEMBER, now=JANUARY)
    assert draft.totals.payable == come[CHARGED]
    done = await run(worker)
    assert (done.issued, done.parked) == (len(come), ())
    assert {k: v for k, v in (await documents(worker)).items() if k not in before} == come
    assert await pending_adjustments(worker, subscription_id="sub-acme") == []
    assert [await balance_of(worker, one) for one in ("1150", "4000")] == [0, -20]
    await agree(worker)
    again = await run(worker)
    assert (again.issued, again.parked) == (0, ())


async def test_who_was_charged_too_little_pays_it_with_the_next_invoice(
    worker: Connection,
) -> None:
    books = await invoiced(worker, "5")
    await credits_apart(worker)
    await priced(worker, "7")
    await books.usage(DECEMBER, MILLION)
    assert (await run(worker)).issued == 1
    assert (await documents(worker))[CHARGED] == 9
    await agree(worker)


async def left(connection: Connection) -> None:
    """Whose November was invoiced leaves, and no invoice follows."""
    await invoiced(connection, "5000")
    said = {"kind": "subscriptions", "id": "sub-acme", "valid_from": "2023-12-01T00:00:00Z"}
    await end_entered(connection, read_input(EndAsk, said), AUTHOR)


async def test_a_parked_note_goes_with_the_overcharge_that_a_correction_takes_away(
    worker: Connection,
) -> None:
    await left(worker)
    await priced(worker, "5")
    await registered(worker)
    (waits,) = (await run(worker)).parked
    assert (waits.what.subject, waits.what.since) == ("sub-acme", NOVEMBER)
    await priced(worker, "5000")
    done = await run(worker)
    assert (done.issued, done.parked) == (0, ())
    assert await list_parked(worker, stage="invoice") == []


async def test_a_parked_note_is_tried_again_while_it_is_due(worker: Connection) -> None:
    await left(worker)
    await priced(worker, "5")
    await registered(worker)
    await run(worker)
    (waits,) = (await run(worker)).parked
    assert (waits.failures, len(await list_parked(worker, stage="invoice"))) == (2, 1)
    await treated(worker, "standard")
    assert (await run(worker)).issued == 1
    assert await list_parked(worker, stage="invoice") == []


async def test_a_parked_invoice_of_another_month_stays(worker: Connection) -> None:
    books = await subscribed(worker)
    await registered(worker)
    await books.usage(WINDOW, MILLION)
    await run_invoices(worker, RunAsk("factory", WINDOW, NOW, AUTHOR))
    before = await list_parked(worker, stage="invoice")
    assert (await run(worker)).issued == 0
    assert [each.what.subject for each in before] == ["sub-acme"]
    assert await list_parked(worker, stage="invoice") == before


async def test_who_left_gets_a_credit_note_by_the_next_run(worker: Connection) -> None:
    await left(worker)
    assert (await run(worker)).issued == 0
    await priced(worker, "5")
    assert (await run(worker)).issued == 1
    assert (await documents(worker))[BACK] == -4995
    assert await pending_adjustments(worker, subscription_id="sub-acme") == []
    await agree(worker)
    assert (await run(worker)).issued == 0
    # More that turns out so is another note, and too little is nobody's to ask for any more.
    await priced(worker, "4")
    assert (await run(worker)).issued == 1
    await priced(worker, "6")
    assert (await run(worker)).issued == 0
    waiting = await pending_adjustments(worker, subscription_id="sub-acme")
    assert sum(line.exact_amount for line in waiting) == 2
