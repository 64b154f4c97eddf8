"""Invoices are issued once, numbered without gaps, and never change."""

import asyncio
from datetime import datetime
from decimal import Decimal
from io import BytesIO

import asyncpg
import pytest
from pypdf import PdfReader

from ledger.documents.invoice_json import snapshot_json
from ledger.domain.errors import ConflictError, InvalidInputError, MissingInputError, NotFoundError
from ledger.flows.billing.invoice import issue_invoice, pending_adjustments, preview_invoice
from ledger.flows.billing.issue import NO_EXCEPTION, IssuedInvoice, IssueRules
from ledger.flows.billing.run import RunAsk, run_invoices
from ledger.store.billing import invoice as store
from ledger.store.connect import connect
from ledger.store.queries import Connection
from tests.flows.billing import (
    AUTHOR,
    DECEMBER,
    JANUARY,
    NOW,
    WINDOW,
    azure_hours,
    balance_of,
    document_of,
    settled,
    subscribed,
)
from tests.support.books import Buyer, Tokens
from tests.support.database import Database


async def issue(
    connection: Connection,
    *,
    moment: datetime = WINDOW,
    now: datetime = NOW,
    customer: str = "acme",
    allow: IssueRules = NO_EXCEPTION,
) -> IssuedInvoice:
    return await issue_invoice(
        connection,
        subscription_id=f"sub-{customer}",
        moment=moment,
        now=now,
        author=AUTHOR,
        allow=allow,
    )


@pytest.mark.parametrize(
    ("prices", "exact", "amounts", "net"),
    [
        (("5", "15"), "93.98831", ["90.30", "3.69"], "93.99"),
        (("2.5", "10"), "47.608895", ["45.15", "2.46"], "47.61"),
    ],
)
async def test_each_line_rounds_once_and_the_difference_is_booked(
    worker: Connection, prices: tuple[str, str], exact: str, amounts: list[str], net: str
) -> None:
    books = await subscribed(worker, prices=prices)
    await azure_hours(books)
    issued = await issue(worker)
    assert (issued.number, issued.net_total) == ("FACTORY-2023-000001", Decimal(net))
    lines = await store.list_lines(worker, invoice_id=issued.invoice_id)
    assert [str(line.amount) for line in lines] == amounts
    assert await balance_of(worker, "1100") == Decimal(net)
    assert await balance_of(worker, "1150") == 0
    assert await balance_of(worker, "6100") == Decimal(exact) - Decimal(net)
    assert await worker.fetchval("SELECT sum(amount) FROM posting") == 0


async def test_a_preview_shows_what_would_be_issued_and_takes_no_number(
    worker: Connection,
) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    draft = await preview_invoice(worker, subscription_id="sub-acme", moment=WINDOW, now=NOW)
    assert draft.totals.net == Decimal("93.99")
    assert await worker.fetchval("SELECT count(*) FROM invoice_series") == 0
    assert (await issue(worker)).number.endswith("000001")


async def test_an_invoice_read_back_says_what_was_kept_of_it(worker: Connection) -> None:
    await azure_hours(await subscribed(worker))
    issued = await issue(worker)
    (invoice,) = await store.list_invoices(worker)
    kept = await worker.fetchrow("SELECT snapshot, payable, cut_off_id FROM invoice")
    assert kept is not None
    assert snapshot_json(invoice) == kept["snapshot"]
    assert (invoice.totals.payable, invoice.cut_off_id) == (kept["payable"], kept["cut_off_id"])
    assert await store.list_invoices(worker, named=issued.number) == [invoice]
    assert await store.list_invoices(worker, named=str(issued.invoice_id)) == [invoice]
    assert await store.list_invoices(worker, named="9" * 40) == []


async def test_the_pdf_says_what_the_books_say(worker: Connection) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    issued = await issue(worker)
    pdf = await document_of(worker, issued.invoice_id)
    assert pdf is not None
    text = PdfReader(BytesIO(pdf)).pages[0].extract_text()
    for part in (issued.number, "Acme", "90.30", "3.69", "93.99 USD", "2023-11-01 to 2023-11-30"):
        assert part in text


async def test_late_usage_is_an_adjustment_and_the_invoice_stays_as_it_was(
    worker: Connection,
) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    issued = await issue(worker)

    async def everything() -> list[object]:
        invoices = await store.list_invoices(worker)
        lines = await store.list_lines(worker, invoice_id=issued.invoice_id)
        pdf = await document_of(worker, issued.invoice_id)
        return [invoices, lines, pdf]

    before = await everything()
    await books.usage(WINDOW.replace(minute=0), Tokens(output=1_000_000))
    await settled(worker)
    (pending,) = await pending_adjustments(worker, subscription_id="sub-acme")
    assert (pending.kind, pending.exact_amount) == ("adjustment", Decimal(15))
    assert await everything() == before

    await books.usage(DECEMBER, Tokens(uncached=1_000_000))
    following = await issue(worker, moment=DECEMBER, now=JANUARY)
    lines = await store.list_lines(worker, invoice_id=following.invoice_id)
    assert [(line.kind, line.amount) for line in lines] == [
        ("usage", Decimal("5.00")),
        ("adjustment", Decimal("15.00")),
    ]
    assert await pending_adjustments(worker, subscription_id="sub-acme") == []
    assert await everything() != before
    assert (await everything())[1:] == before[1:]


async def test_a_period_is_invoiced_once(worker: Connection) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    await issue(worker)
    with pytest.raises(ConflictError, match="invoiced already"):
        await issue(worker)
    await books.usage(WINDOW, Tokens(uncached=1_000_000))
    with pytest.raises(ConflictError, match="supplementary"):
        await issue(worker)
    second = await issue(worker, allow=IssueRules(supplementary=True))
    assert second.net_total == Decimal("5.00")


async def test_what_cannot_be_invoiced_says_why(worker: Connection) -> None:
    books = await subscribed(worker, meters=("input",), prices=("5",))
    with pytest.raises(InvalidInputError, match=r"nothing to bill for .*, [-0-9]+ to [-0-9]+ \("):
        await issue(worker)
    await azure_hours(books)
    with pytest.raises(ConflictError, match="not over"):
        await issue(worker, now=WINDOW)
    with pytest.raises(MissingInputError, match="no price for output_visible"):
        await issue(worker)
    assert (await issue(worker, allow=IssueRules(unpriced=True))).net_total == Decimal("90.30")
    with pytest.raises(NotFoundError, match="no subscription"):
        await issue(worker, customer="nobody")


async def test_an_aborted_run_leaves_no_gap_and_two_at_once_no_double(
    worker: Connection, database: Database
) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    for name in ("beta", "gamma", "delta"):
        await subscribed(worker, customer_id=name)
        buyer = Buyer(customer_id=name, customer_ref=name)
        await books.usage(WINDOW, Tokens(uncached=1_000_000), buyer=buyer)
    await settled(worker)

    async def issue_and_pull_the_plug() -> None:
        async with worker.transaction():
            await issue(worker)
            raise RuntimeError("pulled the plug")

    with pytest.raises(RuntimeError, match="pulled the plug"):
        await issue_and_pull_the_plug()

    async def issue_apart(name: str) -> str:
        connection = await connect(database.worker_url)
        try:
            return (await issue(connection, customer=name)).number
        finally:
            await connection.close()

    names = ("acme", "beta", "gamma", "delta")
    numbers = await asyncio.gather(*(issue_apart(name) for name in names))
    assert sorted(numbers) == [f"FACTORY-2023-{n:06d}" for n in range(1, 5)]


async def test_all_of_an_entity_are_issued_and_a_second_run_adds_nothing(
    worker: Connection,
) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    await subscribed(worker, customer_id="beta")
    ask = RunAsk("factory", WINDOW, NOW, AUTHOR)
    assert (await run_invoices(worker, ask)).issued == 1
    assert (await run_invoices(worker, ask)).issued == 0


@pytest.mark.parametrize("table", ["invoice", "invoice_line", "invoice_document", "posting"])
async def test_nobody_can_change_what_was_issued(
    owner: Connection, worker: Connection, table: str
) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    await document_of(worker, (await issue(worker)).invoice_id)
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await owner.execute(f"DELETE FROM {table}")


async def test_unbalanced_postings_are_refused_by_the_database_too(worker: Connection) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    await settled(worker)
    for lopsided in (
        [(0, 1, "USD")],
        [(0, -1, "USD")],
        # What balances over two currencies, or over two entries, balances in none.
        [(0, 1, "USD"), (0, -1, "EUR")],
        [(0, 1, "USD"), (1, -1, "USD")],
    ):
        entries, amounts, currencies = zip(*lopsided, strict=True)
        with pytest.raises(asyncpg.CheckViolationError, match="does not balance"):
            await worker.execute(
                """INSERT INTO posting (entry_id, line_no, account, amount, currency)
                   SELECT (SELECT max(entry_id) FROM journal_entry) - s.entry, 98 + s.n, '4000',
                          s.amount, s.currency
                     FROM unnest($1::int[], $2::int[], $3::text[]) WITH ORDINALITY
                       AS s (entry, amount, currency, n)""",
                *(entries, amounts, currencies),
            )
