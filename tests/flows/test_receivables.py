"""Payments and credit notes: against invoices and books, once each, never beyond what is open."""

import asyncio
from decimal import Decimal
from io import BytesIO

import pytest
from pypdf import PdfReader

from ledger.domain.billing.issued import PDF
from ledger.domain.errors import ConflictError, InvalidInputError, LedgerError, NotFoundError
from ledger.flows.billing.credit import IssuedCredit, credit_invoice
from ledger.flows.billing.invoice import issue_invoice, pending_adjustments
from ledger.flows.billing.issue import IssueRules
from ledger.flows.books.check_books import check_books
from ledger.flows.reference.enter import enter_price, enter_subscription
from ledger.reports.billing.receivables import receivables_report
from ledger.store.billing.receivables import find_credit_document
from ledger.store.connect import connect
from ledger.store.queries import Connection
from ledger.wire.errors import InputError
from ledger.wire.inputs import NewSubscription, read_input
from ledger.wire.price_inputs import NewPrice
from ledger.wire.receivable_inputs import CreditAsk
from tests.flows.billing import (
    AUTHOR,
    NOW,
    WINDOW,
    azure_hours,
    balance_of,
    pay,
    registered,
    subscribed,
    treated,
)
from tests.support.books import Books, Tokens
from tests.support.database import Database

# 93.99 and a quarter of it.
PAYABLE = Decimal("117.49")
NOTHING = ("0.00", "0.00")


@pytest.fixture
async def number(worker: Connection) -> str:
    """The number of an invoice of 117.49 dollars, of which 23.50 are tax."""
    await azure_hours(await subscribed(worker))
    await registered(worker)
    await treated(worker, "standard")
    issued = await issue_invoice(
        worker, subscription_id="sub-acme", moment=WINDOW, now=NOW, author=AUTHOR
    )
    return issued.number


async def credit(
    connection: Connection, number: str, lines: dict[int, Decimal] | None = None
) -> IssuedCredit:
    return await credit_invoice(connection, named=number, lines=lines, now=NOW, author=AUTHOR)


async def owed(connection: Connection) -> tuple[str, str]:
    """What acme owes, and has on account."""
    found = await receivables_report(connection, entity_id="factory", today=NOW.date())
    return next(((f"{one.owed:.2f}", f"{one.on_account:.2f}") for one in found.customers), NOTHING)


async def agree(connection: Connection) -> None:
    found = await check_books(connection)
    assert (found.differing, found.differences) == (0, [])


async def test_a_full_credit_takes_back_invoice_tax_and_receivable(
    worker: Connection, number: str
) -> None:
    found = await credit(worker, number)
    assert (found.number, found.payable) == ("FACTORY-C-2023-000001", PAYABLE)
    assert (found.tax_total, found.on_account) == (Decimal("23.50"), Decimal(0))
    assert await owed(worker) == NOTHING
    assert [await balance_of(worker, one) for one in ("1100", "2300", "2400")] == [0, 0, 0]
    assert await balance_of(worker, "4900") == Decimal("93.99")
    with pytest.raises(ConflictError, match="Nothing is left"):
        await credit(worker, number)
    assert await worker.fetchval("SELECT count(*) FROM credit_note") == 1
    await agree(worker)
    pdf = await find_credit_document(worker, named=found.number, media_type=PDF)
    text = PdfReader(BytesIO(pdf or b"")).pages[0].extract_text()
    for part in ("CREDIT NOTE", found.number, number, "for a test", "VAT DK 25 %", "117.49"):
        assert part in text


async def test_a_credit_of_what_was_paid_is_on_account_and_can_be_paid_back(
    worker: Connection, number: str
) -> None:
    await pay(worker, "bank-1", "117.49", invoice=number)
    assert await owed(worker) == NOTHING
    found = await credit(worker, number, {2: Decimal("3.69")})
    assert (found.payable, found.on_account) == (Decimal("4.61"), Decimal("4.61"))
    assert await balance_of(worker, "2400") == Decimal("-4.61")
    with pytest.raises(ConflictError, match=r"acme has 4\.61 USD on account, not 4\.62"):
        await pay(worker, "back", "4.62", kind="refunded")
    await pay(worker, "back", "4.61", kind="refunded")
    assert await balance_of(worker, "1000") == PAYABLE - Decimal("4.61")
    assert await owed(worker) == NOTHING
    await agree(worker)


async def test_a_payment_counts_once_whoever_sends_it_again(
    worker: Connection, database: Database, number: str
) -> None:
    others = [await connect(database.worker_url) for _ in range(4)]
    try:
        await asyncio.gather(*(pay(one, "bank-1", "100", invoice=number) for one in others))
    finally:
        for one in others:
            await one.close()
    assert await owed(worker) == ("17.49", "0.00")
    with pytest.raises(ConflictError, match="payment bank-1 is already recorded"):
        await pay(worker, "bank-1", "100.01", invoice=number)
    assert await worker.fetchval("SELECT count(*) FROM payment") == 1
    await agree(worker)


async def test_what_is_paid_beyond_an_invoice_waits_for_the_next(
    worker: Connection, number: str
) -> None:
    await pay(worker, "bank-1", "120")
    assert await owed(worker) == ("0.00", "2.51")
    with pytest.raises(ConflictError, match="acme owes 0 USD, not 1"):
        await pay(worker, "use", "1", kind="from_account")
    assert number
    await agree(worker)


async def test_credits_and_payments_at_once_pay_nothing_twice(
    worker: Connection, database: Database, number: str
) -> None:
    others = [await connect(database.worker_url) for _ in range(6)]

    async def one_of(n: int) -> None:
        if n % 2:
            await pay(others[n], f"bank-{n}", "60")
        else:
            await credit(others[n], number, {1: Decimal("30.10")})

    try:
        await asyncio.gather(*map(one_of, range(6)))
    finally:
        for one in others:
            await one.close()
    still, held = map(Decimal, await owed(worker))
    # 3 × 30.10 of a line of 90.30 and their tax, and 3 × 60.
    assert held - still == Decimal(180) + Decimal("112.88") - PAYABLE
    await agree(worker)


@pytest.mark.parametrize(
    ("more", "error", "says"),
    [
        ({"amount": "0.001"}, InvalidInputError, "finer than its minor unit"),
        ({"currency": "XXX"}, InvalidInputError, "not a currency"),
        ({"customer_id": "nobody"}, NotFoundError, "no customer nobody of entity factory"),
        ({"entity_id": "other"}, NotFoundError, "no customer acme of entity other"),
        ({"invoice": "N-1"}, NotFoundError, "owes nothing of an invoice N-1"),
        ({"currency": "EUR", "invoice": "FACTORY-2023-000001"}, NotFoundError, "in EUR"),
        ({"kind": "refunded", "invoice": "N-1"}, InvalidInputError, "refund pays no invoice"),
        ({"kind": "refunded"}, ConflictError, "has 0 USD on account"),
    ],
)
async def test_bad_payments_are_refused_by_name(
    worker: Connection, number: str, more: dict[str, str], error: type[LedgerError], says: str
) -> None:
    assert number == "FACTORY-2023-000001"
    with pytest.raises(error, match=says):
        await pay(worker, "bank-1", **({"amount": "5"} | more))
    assert await worker.fetchval("SELECT count(*) FROM payment") == 0


async def test_bad_credits_take_no_number(worker: Connection, number: str) -> None:
    for lines, says in (
        ({9: Decimal(1)}, "no line 9"),
        ({1: Decimal("90.31")}, "more than is left"),
        ({1: Decimal("-1")}, "cannot be credited"),
    ):
        with pytest.raises(LedgerError, match=says):
            await credit(worker, number, lines)
    with pytest.raises(NotFoundError, match="no invoice N-1"):
        await credit(worker, "N-1")
    series = await worker.fetch("SELECT kind FROM invoice_series")
    assert [row["kind"] for row in series] == ["invoice"]


async def test_an_overcharge_of_a_subscription_that_ended_is_given_back(
    worker: Connection,
) -> None:
    books = await subscribed(worker, prices=("5000", "15"))
    await books.usage(WINDOW, Tokens(uncached=1_000_000))
    await issue_invoice(worker, subscription_id="sub-acme", moment=WINDOW, now=NOW, author=AUTHOR)
    ended = {"subscription_id": "sub-acme", "customer_id": "acme", "rate_card_id": "card-acme"}
    dates = {"valid_from": "2023-01-01T00:00:00Z", "valid_to": "2023-12-01T00:00:00Z"}
    new = read_input(NewSubscription, ended | dates)
    await enter_subscription(worker, new, AUTHOR, replace=True)
    await pay(worker, "bank-1", "5000.00")
    right = {"rate_card_id": "card-acme", "meter": "input", "amount": "5"}
    price = read_input(NewPrice, right | {"valid_from": "2023-01-01T00:00:00Z"})
    await enter_price(worker, price, AUTHOR, replace=True)
    given = await issue_invoice(
        worker,
        subscription_id="sub-acme",
        moment=WINDOW,
        now=NOW,
        author=AUTHOR,
        allow=IssueRules(supplementary=True),
    )
    assert (given.number, given.payable) == ("FACTORY-C-2023-000001", Decimal("-4995.00"))
    assert await pending_adjustments(worker, subscription_id="sub-acme") == []
    assert await owed(worker) == ("0.00", "4995.00")
    await agree(worker)
    await pay(worker, "back", "4995.00", kind="refunded")
    assert await owed(worker) == NOTHING
    assert [await balance_of(worker, one) for one in ("1100", "1150", "2400")] == [0, 0, 0]
    assert await balance_of(worker, "1000") == Decimal("5.00")
    assert await balance_of(worker, "4000") == Decimal("-5.00")
    await agree(worker)
    with pytest.raises(InvalidInputError, match="gives something back"):
        await credit(worker, given.number)


async def void(connection: Connection, number: str) -> IssuedCredit:
    return await credit_invoice(
        connection, named=number, lines=None, void=True, now=NOW, author=AUTHOR
    )


async def test_a_void_invoice_never_was_and_its_period_is_invoiced_anew(
    worker: Connection, number: str
) -> None:
    await pay(worker, "bank-1", "17.49", invoice=number)
    found = await void(worker, number)
    assert (found.payable, found.on_account) == (PAYABLE, Decimal("17.49"))
    accounts = ("1100", "2300", "4900", "6100")
    assert [await balance_of(worker, one) for one in accounts] == [0, 0, 0, 0]
    assert await balance_of(worker, "1150") == Decimal("93.98831")
    assert await balance_of(worker, "4000") == Decimal("-93.98831")
    await agree(worker)
    with pytest.raises(ConflictError, match="credited before"):
        await void(worker, number)
    await Books(worker).usage(WINDOW, Tokens(uncached=1_000_000))
    anew = await issue_invoice(
        worker, subscription_id="sub-acme", moment=WINDOW, now=NOW, author=AUTHOR
    )
    assert (anew.number, anew.net_total) == ("FACTORY-2023-000002", Decimal("98.99"))
    assert await pending_adjustments(worker, subscription_id="sub-acme") == []
    with pytest.raises(ConflictError, match="invoiced already"):
        await issue_invoice(
            worker, subscription_id="sub-acme", moment=WINDOW, now=NOW, author=AUTHOR
        )
    await pay(worker, "account", "17.49", kind="from_account", invoice=anew.number)
    assert await owed(worker) == ("106.25", "0.00")
    await agree(worker)


async def test_what_changed_since_is_voided_first_and_a_credited_invoice_never(
    worker: Connection, number: str
) -> None:
    await Books(worker).usage(WINDOW, Tokens(uncached=1_000_000))
    second = await issue_invoice(
        worker,
        subscription_id="sub-acme",
        moment=WINDOW,
        now=NOW,
        author=AUTHOR,
        allow=IssueRules(supplementary=True),
    )
    with pytest.raises(ConflictError, match=f"Void {second.number} first"):
        await void(worker, number)
    await void(worker, second.number)
    (waiting,) = await pending_adjustments(worker, subscription_id="sub-acme")
    assert waiting.amount == Decimal("5.00")
    await credit(worker, number, {2: Decimal("1.00")})
    with pytest.raises(ConflictError, match="credited before"):
        await void(worker, number)
    await agree(worker)


def test_lines_of_a_void_invoice_are_refused_by_name() -> None:
    said = {"reason": "r", "void": True, "lines": [{"line_no": 1, "amount": "1"}]}
    with pytest.raises(InputError, match="leave them out: all of it is void"):
        read_input(CreditAsk, said)
