"""A run issues all invoices of an entity: set by set, each once, and who fails is parked alone."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from ledger.domain.billing.issued import PDF
from ledger.domain.errors import LedgerError, NotFoundError
from ledger.flows.billing.document import find_or_render
from ledger.flows.billing.draft_invoice import cut_off_with_charges, draft_invoices
from ledger.flows.billing.invoice import issue_invoice, preview_invoice
from ledger.flows.billing.run import InvoiceRun, RunAsk, run_invoices
from ledger.flows.books.check_books import check_books
from ledger.flows.pricing.rate import rate
from ledger.flows.reference.enter import enter_price
from ledger.store.billing.invoice import find_document, list_invoices, list_lines
from ledger.store.connect import connect
from ledger.store.queries import Connection
from ledger.store.standing import list_parked
from ledger.wire.inputs import read_input
from ledger.wire.price_inputs import NewPrice
from tests.flows.billing import AUTHOR, DECEMBER, NOW, WINDOW, azure_hours, subscribed
from tests.support.books import Books, Buyer, Tokens
from tests.support.database import Database

ASK = RunAsk("factory", WINDOW, NOW, AUTHOR)
NAMES = tuple(f"c{n}" for n in range(7))
DIES = """
CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$;
CREATE TRIGGER dies BEFORE INSERT ON invoice_line FOR EACH ROW WHEN (NEW.customer_id = 'c4')
  EXECUTE FUNCTION die();
"""
REFUSES = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'not this one'; END $$;
CREATE TRIGGER refuses BEFORE INSERT ON invoice_line FOR EACH ROW WHEN (NEW.customer_id = 'c4')
  EXECUTE FUNCTION refuse();
"""


async def used(books: Books, name: str, tokens: Tokens) -> None:
    await books.usage(WINDOW, tokens, buyer=Buyer(customer_id=name, customer_ref=name))


async def seven(connection: Connection, **how: Any) -> Books:
    """Seven customers, the n-th of which used n + 1 million input tokens."""
    books = Books(connection)
    for n, name in enumerate(NAMES, start=1):
        await subscribed(connection, customer_id=name, **how)
        await used(books, name, Tokens(uncached=n * 1_000_000))
    return books


async def numbers(connection: Connection) -> list[str]:
    return sorted(one.number for one in await list_invoices(connection))


def parked(done: InvoiceRun) -> list[str]:
    return [one.what.subject for one in done.parked]


async def test_a_run_issues_what_each_preview_showed(worker: Connection) -> None:
    await seven(worker)
    drafts = [
        await preview_invoice(worker, subscription_id=f"sub-{name}", moment=WINDOW, now=NOW)
        for name in NAMES
    ]
    done = await run_invoices(worker, replace(ASK, together=3))
    (total,) = done.totals
    assert (done.issued, total.invoices, total.net_total) == (7, 7, Decimal(5 * 28))
    invoices = {one.customer_id: one for one in await list_invoices(worker)}
    for draft in drafts:
        invoice = invoices[draft.agreement.customer_id]
        assert (invoice.totals, invoice.taxes) == (draft.totals, draft.taxes)
        lines = await list_lines(worker, invoice_id=invoice.invoice_id)
        assert [line.key for line in lines] == [line.key for line in draft.lines]
    assert await numbers(worker) == [f"FACTORY-2023-{n:06d}" for n in range(1, 8)]
    looked_at: list[int] = []
    for moment in (WINDOW, WINDOW.date()):
        again = await run_invoices(worker, replace(ASK, moment=moment), progress=looked_at.append)
        assert (again.issued, again.totals, again.parked, looked_at) == (0, (), (), [])
    assert not (await check_books(worker)).differing


async def test_drafts_together_are_the_drafts_one_by_one(worker: Connection) -> None:
    books = await seven(worker)
    await run_invoices(worker, ASK)
    await used(books, "c1", Tokens(uncached=3_000_000))
    await rate(worker, now=NOW)
    names = [f"sub-{name}" for name in NAMES]
    cut_off = await cut_off_with_charges(worker, "factory")

    async def drafted(*some: str) -> dict[str, object]:
        found = await draft_invoices(
            worker, some, WINDOW, entity_id="factory", cut_off=cut_off, now=NOW
        )
        return {
            name: str(one) if isinstance(one, LedgerError) else one for name, one in found.items()
        }

    together = await drafted(*names, "nobody")
    assert together == {
        name: found for each in (*names, "nobody") for name, found in (await drafted(each)).items()
    }
    assert "not valid" in str(together["nobody"])


async def test_two_processes_issue_everything_once_and_park_alone(
    worker: Connection, owner: Connection
) -> None:
    await seven(worker)
    await owner.execute(REFUSES)
    seen: list[int] = []
    ask = replace(ASK, together=1, apart_from=2)
    done = await run_invoices(worker, ask, progress=seen.append)
    assert (done.issued, parked(done), sum(seen)) == (6, ["sub-c4"], 7)
    assert done.totals[0].net_total == Decimal(5 * (28 - 5))
    assert await numbers(worker) == [f"FACTORY-2023-{n:06d}" for n in range(1, 7)]
    assert not (await check_books(worker)).differing


async def test_killed_half_way_it_goes_on_without_gap_or_double(
    worker: Connection, owner: Connection, database: Database
) -> None:
    await seven(worker)
    await owner.execute(DIES)
    dying = await connect(database.worker_url)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await run_invoices(dying, replace(ASK, together=2, apart_from=2))
    gone = await numbers(worker)
    # What another process issued meanwhile stays as well.
    assert len(gone) in (4, 5)
    assert gone == [f"FACTORY-2023-{n:06d}" for n in range(1, len(gone) + 1)]
    await owner.execute("DROP TRIGGER dies ON invoice_line")
    assert (await run_invoices(worker, replace(ASK, together=2))).issued == 7 - len(gone)
    assert await numbers(worker) == [f"FACTORY-2023-{n:06d}" for n in range(1, 8)]
    assert len({one.customer_id for one in await list_invoices(worker)}) == 7
    assert not (await check_books(worker)).differing


async def test_who_cannot_be_invoiced_is_parked_alone_and_tried_again(worker: Connection) -> None:
    books = await seven(worker, meters=("input",), prices=("5",))
    await used(books, "c2", Tokens(output=1))
    done = await run_invoices(worker, ASK)
    assert (done.issued, parked(done)) == (6, ["sub-c2"])
    (kept,) = await list_parked(worker, stage="invoice")
    assert "no price for output_visible" in kept.what.reason
    done = await run_invoices(worker, ASK)
    assert (done.issued, parked(done), done.parked[0].failures) == (0, ["sub-c2"], 2)
    price = {"meter": "output", "amount": "15", "valid_from": "2023-01-01T00:00:00Z"}
    new = read_input(NewPrice, {"rate_card_id": "card-c2", **price})
    await enter_price(worker, new, AUTHOR)
    done = await run_invoices(worker, ASK)
    assert (done.issued, done.parked, await list_parked(worker, stage="invoice")) == (1, (), [])
    assert await numbers(worker) == [f"FACTORY-2023-{n:06d}" for n in range(1, 8)]


async def test_what_the_database_refuses_of_one_is_parked_alone(
    worker: Connection, owner: Connection
) -> None:
    await seven(worker)
    await owner.execute(REFUSES)
    done = await run_invoices(worker, ASK)
    assert (done.issued, parked(done)) == (6, ["sub-c4"])
    assert "not this one" in done.parked[0].what.reason
    assert await numbers(worker) == [f"FACTORY-2023-{n:06d}" for n in range(1, 7)]
    await owner.execute("DROP TRIGGER refuses ON invoice_line")
    await issue_invoice(worker, subscription_id="sub-c4", moment=WINDOW, now=NOW, author=AUTHOR)
    assert await list_parked(worker, stage="invoice") == []


async def test_two_runs_at_once_issue_everything_once(
    worker: Connection, database: Database
) -> None:
    await seven(worker)
    other = await connect(database.worker_url)
    try:
        both = await asyncio.gather(
            run_invoices(worker, replace(ASK, together=2)),
            run_invoices(other, replace(ASK, together=2)),
        )
    finally:
        await other.close()
    assert sum(done.issued for done in both) == 7
    assert await numbers(worker) == [f"FACTORY-2023-{n:06d}" for n in range(1, 8)]


async def test_periods_that_are_not_over_wait_and_are_counted(worker: Connection) -> None:
    await seven(worker)
    done = await run_invoices(worker, replace(ASK, now=DECEMBER - timedelta(seconds=1)))
    assert (done.issued, done.not_over, done.parked) == (0, 7, ())
    with pytest.raises(NotFoundError, match="no entity nobody"):
        await run_invoices(worker, replace(ASK, entity_id="nobody"))


async def test_documents_are_rendered_when_first_asked_for_and_stay(
    worker: Connection, database: Database
) -> None:
    await azure_hours(await subscribed(worker))
    await run_invoices(worker, ASK)
    (invoice,) = await list_invoices(worker)
    assert await find_document(worker, invoice_id=invoice.invoice_id) is None
    other = await connect(database.worker_url)
    try:
        both = await asyncio.gather(find_or_render(worker, invoice), find_or_render(other, invoice))
    finally:
        await other.close()
    kept = await find_document(worker, invoice_id=invoice.invoice_id, media_type=PDF)
    assert {*both, kept} == {await find_or_render(worker, invoice)}
    assert not (await check_books(worker)).differing
