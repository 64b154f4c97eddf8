"""A customer of a card in dollars that is invoiced in another currency, by the rate of the day."""

from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from io import BytesIO
from typing import Any

import pytest
from pypdf import PdfReader

from ledger.domain.billing.agreement import EInvoiceForm
from ledger.domain.errors import InvalidInputError, MissingInputError
from ledger.flows.billing.credit import credit_invoice
from ledger.flows.billing.draw import draw
from ledger.flows.billing.invoice import issue_invoice, pending_adjustments, preview_invoice
from ledger.flows.billing.issue import IssuedInvoice
from ledger.flows.billing.run import RunAsk, run_invoices
from ledger.flows.books.check_books import check_books
from ledger.flows.reference.enter import enter_fx_rates
from ledger.flows.reference.parties import change_customer, change_entity
from ledger.store.billing.invoice import list_invoices, list_lines
from ledger.store.queries import Connection
from ledger.wire.changes import CustomerChange, EntityChange
from ledger.wire.errors import InputError
from ledger.wire.inputs import NewFxRates, read_input
from tests.flows.billing import (
    AUTHOR,
    DECEMBER,
    JANUARY,
    NOW,
    WINDOW,
    azure_hours,
    document_of,
    grant,
    pay,
    registered,
    subscribed,
    treated,
)
from tests.support.books import Books, Tokens
from tests.support.en16931 import failed

DAY = {"valid_from": "2020-01-01"}
# What a dollar is on the day of issue, a Saturday, by the rate of the Friday before.
EURO = Fraction(10_000, 10_875)


async def published(connection: Connection, *rates: tuple[str, str, str, str]) -> None:
    rows = [
        {"base": base, "quote": quote, "day": day, "rate": rate, "source": "ECB"}
        for base, quote, day, rate in rates
    ]
    await enter_fx_rates(connection, read_input(NewFxRates, {"rates": rows}), AUTHOR)


async def buyer_says(connection: Connection, **said: Any) -> None:
    change = read_input(CustomerChange, {"customer_id": "acme", **DAY, **said})
    await change_customer(connection, change, AUTHOR)


async def sold(connection: Connection, currency: str = "EUR") -> Books:
    """90.29987 and 3.68844 dollars of November, to be asked for in another currency."""
    books = await subscribed(connection)
    await azure_hours(books)
    await buyer_says(connection, invoiced_in=currency)
    await published(
        connection,
        ("EUR", "USD", "2023-11-30", "1.0931"),
        ("EUR", "USD", "2023-12-01", "1.0875"),
        ("EUR", "USD", "2024-01-01", "1.25"),
        ("EUR", "JPY", "2023-12-01", "160.97"),
    )
    return books


async def issue(connection: Connection, moment: datetime = WINDOW) -> IssuedInvoice:
    now = NOW if moment is WINDOW else JANUARY
    return await issue_invoice(
        connection, subscription_id="sub-acme", moment=moment, now=now, author=AUTHOR
    )


async def balances(connection: Connection) -> dict[tuple[str, str], Decimal]:
    """What stands on each account in each currency."""
    rows = await connection.fetch(
        "SELECT account, currency::text, sum(amount) AS amount FROM posting GROUP BY 1, 2"
    )
    return {(row["account"], row["currency"]): row["amount"] for row in rows if row["amount"]}


async def agree(connection: Connection) -> None:
    found = await check_books(connection)
    assert (found.differing, found.differences) == (0, [])


def cents(exact: Fraction, digits: int = 2) -> Decimal:
    """Half up, of what is above zero."""
    scaled = exact * 10**digits + Fraction(1, 2)
    return Decimal(scaled.numerator // scaled.denominator).scaleb(-digits)


@pytest.mark.parametrize(
    ("currency", "rate", "digits"),
    [("EUR", EURO, 2), ("JPY", EURO * Fraction(16_097, 100), 0)],
)
async def test_each_line_is_converted_exactly_and_rounded_once(
    worker: Connection, currency: str, rate: Fraction, digits: int
) -> None:
    await sold(worker, currency)
    issued = await issue(worker)
    assert issued.currency == currency
    lines = await list_lines(worker, invoice_id=issued.invoice_id)
    assert [line.charged for line in lines] == [Decimal("90.29987"), Decimal("3.68844")]
    expected = [cents(Fraction(line.charged) * rate, digits) for line in lines]
    assert [line.amount for line in lines] == expected
    assert issued.net_total == sum(expected)
    (invoice,) = await list_invoices(worker, invoice_id=issued.invoice_id)
    assert invoice.exchange is not None
    assert (invoice.terms.priced_in, invoice.exchange.published.isoformat()) == (
        "USD",
        "2023-12-01",
    )
    left = await balances(worker)
    assert left["1100", currency] == issued.payable
    assert left["4000", "USD"] == -left["3100", "USD"] == Decimal("-93.98831")
    assert ("1150", "USD") not in left
    await agree(worker)


@pytest.mark.parametrize("included", [False, True])
async def test_tax_and_payment_are_in_the_currency_that_is_asked_for(
    worker: Connection, included: bool
) -> None:
    await sold(worker)
    await registered(worker)
    await treated(worker, "standard", included=included)
    issued = await issue(worker)
    whole = cents(Fraction(Decimal("90.29987")) * EURO) + cents(Fraction("3.68844") * EURO)
    assert issued.payable == (whole if included else whole + cents(Fraction(whole) / 4))
    await pay(worker, "bank-1", f"{issued.payable}", currency="EUR", invoice=issued.number)
    assert ("1100", "EUR") not in await balances(worker)
    await agree(worker)


async def test_what_changes_later_is_told_in_dollars_and_asked_for_by_the_later_rate(
    worker: Connection,
) -> None:
    books = await sold(worker)
    await issue(worker)
    await books.usage(WINDOW, Tokens(output=1_000_000))
    await books.usage(DECEMBER, Tokens(uncached=1_000_000))
    later = await issue(worker, DECEMBER)
    lines = await list_lines(worker, invoice_id=later.invoice_id)
    assert [(line.kind, line.charged, line.amount) for line in lines] == [
        ("usage", Decimal(5), Decimal("4.00")),
        ("adjustment", Decimal(15), Decimal("12.00")),
    ]
    assert await pending_adjustments(worker, subscription_id="sub-acme") == []
    await agree(worker)


async def test_void_it_is_as_if_it_had_never_been_and_credit_is_in_its_own_currency(
    worker: Connection,
) -> None:
    await sold(worker)
    first = await issue(worker)
    await credit_invoice(worker, named=first.number, lines=None, void=True, now=NOW, author=AUTHOR)
    assert await balances(worker) == {
        ("1150", "USD"): Decimal("93.98831"),
        ("4000", "USD"): Decimal("-93.98831"),
    }
    again = await issue(worker)
    await credit_invoice(worker, named=again.number, lines=None, now=NOW, author=AUTHOR)
    left = await balances(worker)
    assert left["4900", "EUR"] == again.net_total
    assert ("1100", "EUR") not in left
    await agree(worker)


async def test_grants_in_dollars_pay_an_invoice_in_euros(worker: Connection) -> None:
    await sold(worker)
    await grant(worker, "small", "40.00", kind="prepaid")
    await issue_and_draw(worker)
    (invoice,) = await list_invoices(worker)
    assert invoice.credit == cents(Fraction(40) * EURO)
    left = await balances(worker)
    assert left["1100", "EUR"] == invoice.left_to_pay
    assert ("1150", "USD") not in left
    await agree(worker)


async def test_a_grant_for_all_of_it_leaves_nothing_to_pay(worker: Connection) -> None:
    await sold(worker)
    await grant(worker, "large", "500.00", kind="prepaid")
    await issue_and_draw(worker)
    (invoice,) = await list_invoices(worker)
    assert invoice.left_to_pay == 0
    assert ("1100", "EUR") not in await balances(worker)
    await agree(worker)
    await credit_invoice(
        worker, named=invoice.number, lines=None, void=True, now=NOW, author=AUTHOR
    )
    await agree(worker)


async def issue_and_draw(connection: Connection) -> None:
    await draw(connection, entity_id="factory", now=NOW)
    await issue(connection)


async def test_without_a_rate_it_is_parked_by_name_and_no_number_is_taken(
    worker: Connection,
) -> None:
    await sold(worker, "DKK")
    with pytest.raises(MissingInputError, match="exchange rate USD/DKK of 2023-12-02"):
        await issue(worker)
    draft = await preview_invoice(worker, subscription_id="sub-acme", moment=WINDOW, now=NOW)
    assert (draft.currency, draft.totals.payable) == ("USD", Decimal("93.99"))
    assert "USD/DKK" in str(draft.unconverted)
    done = await run_invoices(worker, RunAsk("factory", WINDOW, NOW, AUTHOR))
    (parked,) = done.parked
    assert "USD/DKK" in parked.what.reason
    assert await worker.fetchval("SELECT count(*) FROM invoice_series") == 0
    await published(worker, ("EUR", "DKK", "2023-12-01", "7.4555"))
    assert (await run_invoices(worker, RunAsk("factory", WINDOW, NOW, AUTHOR))).issued == 1
    await agree(worker)


async def test_documents_say_the_rate_and_hold_to_the_rules(worker: Connection) -> None:
    await sold(worker)
    await registered(worker)
    await treated(worker, "standard")
    seller = {"entity_id": "factory", **DAY, "country": "DK"}
    await change_entity(worker, read_input(EntityChange, seller), AUTHOR)
    await buyer_says(worker, country="DE", address="Weg 1\n10115 Berlin", e_invoice="factur_x")
    issued = await issue(worker)
    pdf = PdfReader(BytesIO(await document_of(worker, issued.invoice_id)))
    text = pdf.pages[0].extract_text()
    assert "Prices are in USD: one is 1 ÷ 1.0875 EUR (ECB, 2023-12-01)." in " ".join(text.split())
    assert "5 USD" in text
    (xml,) = pdf.attachments["factur-x.xml"]
    assert failed(xml, EInvoiceForm.FACTUR_X) == []
    assert f"{issued.payable}".encode() in xml


async def test_what_is_no_currency_is_refused(worker: Connection) -> None:
    await subscribed(worker)
    for wrong in ("XXX", "euro", "", 7):
        with pytest.raises((InputError, InvalidInputError), match=r"invoiced_in|XXX"):
            await buyer_says(worker, invoiced_in=wrong)
