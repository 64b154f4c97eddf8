"""Grants: drawn in order for what was charged, once, and told in books, invoices and events."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest
from pypdf import PdfReader

from ledger.domain.errors import ConflictError, InvalidInputError, LedgerError, NotFoundError
from ledger.flows.billing.credit import credit_invoice
from ledger.flows.billing.draw import draw
from ledger.flows.billing.invoice import issue_invoice, preview_invoice
from ledger.flows.billing.issue import IssueRules
from ledger.flows.books.check_books import check_books
from ledger.flows.reference.enter_grant import enter_top_up_rule
from ledger.flows.reference.resources import BY_WORD, ListQuery, list_page
from ledger.flows.settle import settle
from ledger.store.billing.invoice import list_invoices
from ledger.store.connect import connect
from ledger.store.queries import Connection
from ledger.wire.credit_inputs import NewTopUpRule
from ledger.wire.errors import InputError
from ledger.wire.inputs import read_input
from tests.flows.billing import (
    AUTHOR,
    NOW,
    WINDOW,
    azure_hours,
    balance_of,
    document_of,
    grant,
    pay,
    registered,
    subscribed,
    treated,
)
from tests.support.books import Books, Tokens
from tests.support.database import Database

# What the two hours of the Azure trace come to, before rounding.
EXACT = Decimal("93.98831")
INVOICE: dict[str, Any] = {"subscription_id": "sub-acme", "moment": WINDOW, "author": AUTHOR}


@pytest.fixture
async def books(worker: Connection) -> Books:
    """Usage of acme that comes to 93.98831 dollars, all of one day."""
    books = await subscribed(worker)
    await azure_hours(books)
    return books


async def listed(connection: Connection, word: str) -> list[dict[str, Any]]:
    rows = await list_page(connection, BY_WORD[word], ListQuery(limit=100), now=NOW)
    return [dict(row.values) for row in rows]


async def left(connection: Connection) -> dict[str, Decimal]:
    return {row["grant_id"]: row["left"] for row in await listed(connection, "grants")}


async def said(connection: Connection) -> list[tuple[str, str, Decimal]]:
    events = await listed(connection, "credit-events")
    return [(row["kind"], row["about"], row["amount"]) for row in events]


async def agree(connection: Connection) -> None:
    """Every proof of the books holds, and grants sum to what became of them."""
    found = await check_books(connection)
    assert found.differences == []
    for row in await listed(connection, "grants"):
        assert row["amount"] == row["drawn"] + row["expired"] + row["left"]
        assert row["left"] >= 0
        assert row["drawn"] >= 0


async def rule(connection: Connection, **more: Any) -> None:
    told = {"customer_id": "acme", "currency": "USD", "valid_from": "2023-10-01T00:00:00Z"}
    await enter_top_up_rule(connection, read_input(NewTopUpRule, told | more), AUTHOR)


async def test_usage_draws_grants_in_order_and_the_books_say_so(
    worker: Connection, books: Books
) -> None:
    await grant(worker, "for-ever", "50")
    await grant(worker, "soon", "40", expires_on="2023-12-01")
    await grant(worker, "gift", "30", kind="promotional", priority=1)
    assert await balance_of(worker, "2200") == -90
    await settle(worker, now=NOW - timedelta(days=10))
    assert await left(worker) == {"for-ever": 0, "soon": 0, "gift": Decimal("26.01169")}
    assert await balance_of(worker, "2200") == 0
    assert await balance_of(worker, "4910") == Decimal("3.98831")
    assert await balance_of(worker, "1150") == 0
    await agree(worker)
    assert (await draw(worker, now=NOW - timedelta(days=10))).rows_written == 0


async def test_late_usage_and_corrections_move_what_was_drawn(
    worker: Connection, books: Books
) -> None:
    await grant(worker, "g", "100")
    await settle(worker, now=NOW)
    assert await left(worker) == {"g": Decimal("6.01169")}
    await books.usage(WINDOW - timedelta(days=3), Tokens(uncached=1_000_000))
    await settle(worker, now=NOW)
    assert await left(worker) == {"g": Decimal("1.01169")}
    await books.usage(WINDOW, Tokens(uncached=-1_000_000))
    await settle(worker, now=NOW)
    assert await left(worker) == {"g": Decimal("6.01169")}
    await agree(worker)


async def test_a_grant_of_before_is_drawn_for_what_was_used_since(
    worker: Connection, books: Books
) -> None:
    await grant(worker, "second", "50", priority=2)
    await settle(worker, now=NOW)
    await grant(worker, "first", "80")
    await settle(worker, now=NOW)
    assert await left(worker) == {"first": 0, "second": Decimal("36.01169")}
    await agree(worker)


async def test_what_is_left_expires_and_late_usage_takes_of_it(
    worker: Connection, books: Books
) -> None:
    await grant(worker, "g", "100", expires_on="2023-11-20")
    await settle(worker, now=datetime(2023, 11, 19, 23, tzinfo=UTC))
    assert await balance_of(worker, "4100") == 0
    await settle(worker, now=datetime(2023, 11, 20, 0, tzinfo=UTC))
    assert await balance_of(worker, "4100") == Decimal("-6.01169")
    assert await balance_of(worker, "2200") == 0
    await books.usage(WINDOW, Tokens(uncached=1_000_000))
    await books.usage(WINDOW + timedelta(days=5), Tokens(uncached=1_000_000))
    await settle(worker, now=NOW)
    assert await balance_of(worker, "4100") == Decimal("-1.01169")
    (row,) = await listed(worker, "grants")
    assert (row["drawn"], row["expired"], row["left"]) == (
        Decimal("98.98831"),
        Decimal("1.01169"),
        0,
    )
    assert ("expired", "g", Decimal("6.01169")) in await said(worker)
    await agree(worker)


async def test_an_invoice_asks_less_for_what_was_drawn(worker: Connection, books: Books) -> None:
    await registered(worker)
    await treated(worker, "standard")
    await grant(worker, "g", "50")
    draft = await preview_invoice(worker, subscription_id="sub-acme", moment=WINDOW, now=NOW)
    assert [(each.grant_id, int(each.amount)) for each in draft.applied] == [("g", 50)]
    issued = await issue_invoice(worker, now=NOW, **INVOICE)
    (invoice,) = await list_invoices(worker)
    # 93.99 and a quarter of it, less 50.
    assert (issued.payable, invoice.credit) == (Decimal("117.49"), Decimal(50))
    assert invoice.left_to_pay == Decimal("67.49")
    assert await balance_of(worker, "1100") == Decimal("67.49")
    assert await balance_of(worker, "1150") == 0
    printed = await document_of(worker, issued.invoice_id)
    text = PdfReader(BytesIO(printed)).pages[0].extract_text()
    assert "Paid from credit" in text
    assert "67.49" in text
    await pay(worker, "bank-1", "67.49")
    assert await balance_of(worker, "1100") == 0
    await agree(worker)


async def test_an_invoice_that_was_drawn_whole_asks_for_nothing(
    worker: Connection, books: Books
) -> None:
    await grant(worker, "a", "33.33")
    await grant(worker, "b", "1000")
    await issue_invoice(worker, now=NOW, **INVOICE)
    (invoice,) = await list_invoices(worker)
    assert invoice.left_to_pay == 0
    assert await balance_of(worker, "1100") == 0
    # Lines are rounded one by one: the difference is on the rounding account, once.
    assert await balance_of(worker, "6100") == 0
    assert await balance_of(worker, "1150") == 0
    await agree(worker)


async def test_what_changes_after_an_invoice_is_on_the_next(
    worker: Connection, books: Books
) -> None:
    await grant(worker, "g", "95")
    await issue_invoice(worker, now=NOW, **INVOICE)
    await books.usage(WINDOW, Tokens(uncached=-2_000_000))
    more = IssueRules(supplementary=True)
    await issue_invoice(worker, now=NOW, allow=more, **INVOICE)
    second, first = await list_invoices(worker)
    amounts = (first.left_to_pay, second.totals.payable, second.left_to_pay)
    assert amounts == (Decimal(0), Decimal(-10), Decimal(0))
    assert await left(worker) == {"g": Decimal("11.01169")}
    await books.usage(WINDOW, Tokens(uncached=3_000_000))
    await issue_invoice(worker, now=NOW, allow=more, **INVOICE)
    third, *_ = await list_invoices(worker)
    # 15 more, of which the grant has 11.01169.
    assert (third.totals.payable, third.credit) == (Decimal(15), Decimal("11.01"))
    assert await left(worker) == {"g": 0}
    await agree(worker)


async def test_a_void_invoice_gives_its_credit_to_the_next(
    worker: Connection, books: Books
) -> None:
    await grant(worker, "g", "50")
    issued = await issue_invoice(worker, now=NOW, **INVOICE)
    voided = await credit_invoice(
        worker, named=issued.number, lines=None, now=NOW, author=AUTHOR, void=True
    )
    assert voided.on_account == 0
    assert await balance_of(worker, "1100") == 0
    await agree(worker)
    await issue_invoice(worker, now=NOW, **INVOICE)
    assert [each.credit for each in await list_invoices(worker)] == [50, 50]
    assert await balance_of(worker, "1100") == Decimal("43.99")
    await agree(worker)


async def test_runs_and_invoices_at_once_draw_nothing_twice(
    worker: Connection, database: Database, books: Books
) -> None:
    others = [await connect(database.worker_url) for _ in range(4)]

    async def one_of(n: int) -> None:
        if n == 0:
            await books.usage(WINDOW, Tokens(uncached=400_000))
        if n == 1:
            await grant(others[n], "b", "7")
        if n < 3:
            await settle(others[n], now=NOW)
            return
        await issue_invoice(others[n], now=NOW, **INVOICE)

    try:
        await grant(worker, "a", "90")
        await asyncio.gather(*map(one_of, range(4)))
    finally:
        for one in others:
            await one.close()
    await settle(worker, now=NOW)
    # 95.98831 were used, and there are 97.
    assert sum((await left(worker)).values()) == Decimal("1.01169")
    await agree(worker)


async def test_a_low_balance_is_said_once_and_a_top_up_ordered(
    worker: Connection, books: Books
) -> None:
    await rule(worker, low_balance="10", top_up_amount="100")
    await grant(worker, "g", "100")
    await settle(worker, now=NOW)
    await settle(worker, now=NOW)
    assert await said(worker) == [
        ("low_balance", "after 1 grants", Decimal("6.01169")),
        ("top_up_ordered", "after 1 grants", 100),
    ]
    order = next(
        row["event_id"]
        for row in await listed(worker, "credit-events")
        if row["kind"] == "top_up_ordered"
    )
    await grant(worker, "paid", "100", order_id=order)
    with pytest.raises(ConflictError, match="came to the grant paid"):
        await grant(worker, "again", "100", order_id=order)
    await settle(worker, now=NOW)
    before = await said(worker)
    await books.usage(WINDOW, Tokens(uncached=20_000_000))
    await settle(worker, now=NOW)
    assert [row[0] for row in (await said(worker))[len(before) :]] == [
        "low_balance",
        "top_up_ordered",
    ]
    (balance,) = await listed(worker, "credit-balances")
    assert (balance["granted"], balance["left"]) == (200, Decimal("6.01169"))
    await books.usage(WINDOW, Tokens(uncached=20_000_000))
    await settle(worker, now=NOW)
    assert (await said(worker))[-1][0] == "exhausted"
    await agree(worker)


async def test_a_scoped_grant_pays_for_its_models_and_meters(
    worker: Connection, books: Books
) -> None:
    await grant(worker, "output", "100", meters=["output"])
    await grant(worker, "other", "100", models=["some-other"])
    await settle(worker, now=NOW)
    # 245,896 output tokens at 15.
    assert await left(worker) == {"output": 100 - Decimal("3.68844"), "other": 100}
    assert await balance_of(worker, "1150") == EXACT - Decimal("3.68844")
    await agree(worker)


# What somebody did, and what `check` says: table, place, figure, what it must be and is.
FAULTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "a grant holds more than was paid": (
        "UPDATE credit_grant SET amount = amount + 1 WHERE grant_id = 'g'",
        ("control", "acme account 2200 USD", "balance", "*", "*"),
    ),
    "a grant was drawn beyond what it holds": (
        "UPDATE credit_draw SET amount = amount * 2 WHERE grant_id = 'g'",
        ("credit_grant", "g", "drawn", "from 0 to 50", "*"),
    ),
    "more was drawn than was charged": (
        "UPDATE credit_draw SET amount = 91 WHERE grant_id = 'g'",
        ("credit_grant", "acme sub-acme input_uncached llama", "charged", "at most 90.29987", "91"),
    ),
    "a grant paid for what it is not for": (
        "UPDATE credit_grant SET models = '{other}' WHERE grant_id = 'g'",
        ("credit_grant", "g", "scope", "usage that it pays for", "*"),
    ),
    "something expired twice": (
        "UPDATE credit_expiry SET amount = amount + 1",
        ("credit_grant", "old", "expired", "7", "8"),
    ),
    "credit pays more than an invoice asks": (
        "UPDATE credit_applied SET amount = amount + 99",
        ("credit_grant", "FACTORY-2023-000001", "credit", "*", "*"),
    ),
    "an invoice forgot its credit": (
        "DELETE FROM credit_applied",
        ("control", "acme account 1100 USD", "balance", "93.99", "43.99"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_was_changed_is_named(
    worker: Connection, superuser: Connection, books: Books, fault: str
) -> None:
    await grant(worker, "g", "50")
    await grant(worker, "old", "7", expires_on="2023-11-01")
    await issue_invoice(worker, now=NOW, **INVOICE)
    await agree(worker)
    sql, wanted = FAULTS[fault]
    await superuser.execute(sql)
    found = await check_books(worker)
    differences = [(d.table, d.where, d.name, d.expected, d.stored) for d in found.differences]
    assert any(
        all(want in ("*", is_) for want, is_ in zip(wanted, each, strict=True))
        for each in differences
    ), differences


@pytest.mark.parametrize(
    ("more", "error", "says"),
    [
        ({"amount": "0"}, InputError, "above 0"),
        ({"amount": "-5"}, InputError, "above 0"),
        ({"amount": "0.001"}, InvalidInputError, "finer than its minor unit"),
        ({"currency": "XXX"}, InvalidInputError, "not a currency"),
        ({"currency": "EUR"}, InvalidInputError, "has no prices in EUR"),
        ({"expires_on": "2023-10-01"}, InputError, "a day after 2023-10-01"),
        ({"starts_on": "2024-01-01", "expires_on": "2023-12-01"}, InputError, "a day after"),
        ({"customer_id": "nobody"}, NotFoundError, "no customer nobody of entity factory"),
        ({"order_id": 7}, NotFoundError, "no top-up order 7"),
        ({"order_id": 7, "kind": "promotional"}, InputError, "what is given has no order"),
        ({"meters": ["tokens"]}, InputError, "meters"),
        ({"priority": 1001}, InputError, "priority"),
    ],
    ids=lambda value: None if isinstance(value, type) else str(value)[:40],
)
async def test_bad_grants_are_refused_by_name(
    worker: Connection, books: Books, more: dict[str, Any], error: type[LedgerError], says: str
) -> None:
    with pytest.raises(error, match=says):
        await grant(worker, "g", **({"amount": "5"} | more))
    assert await left(worker) == {}


async def test_what_is_sold_in_no_such_currency_is_not_topped_up_in_it(
    worker: Connection, books: Books
) -> None:
    with pytest.raises(InvalidInputError, match="Send USD, or enter a rate card in JPY first"):
        await rule(worker, currency="JPY", low_balance="5")


async def test_a_grant_is_entered_once_and_stays(worker: Connection, books: Books) -> None:
    for _ in range(2):
        await grant(worker, "g", "5", models=["b", "a"])
    assert await balance_of(worker, "1000") == 5
    with pytest.raises(ConflictError, match="already recorded with amount 5"):
        await grant(worker, "g", "6", models=["b", "a"])
