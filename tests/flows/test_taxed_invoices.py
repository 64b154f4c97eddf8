"""Invoices with tax: what was said about a customer decides, and what is missing is said before."""

from decimal import Decimal
from io import BytesIO

import pytest
from pypdf import PdfReader

from ledger.domain.errors import ConflictError, InvalidInputError, LedgerError, MissingInputError
from ledger.flows.billing.invoice import issue_invoice, preview_invoice
from ledger.flows.books.check_books import check_books
from ledger.flows.reference.enter_tax import enter_tax_rate, enter_tax_registration
from ledger.flows.reference.parties import change_customer
from ledger.store.billing.invoice import list_invoices
from ledger.store.queries import Connection
from ledger.wire.changes import CustomerChange
from ledger.wire.inputs import read_input
from ledger.wire.tax_inputs import NewTaxRate, NewTaxRegistration
from tests.flows.billing import (
    AUTHOR,
    DANISH,
    NOW,
    SINCE,
    WINDOW,
    azure_hours,
    balance_of,
    document_of,
    registered,
    subscribed,
    treated,
)

GERMAN = "DE136695976"


async def issue(connection: Connection) -> int:
    issued = await issue_invoice(
        connection, subscription_id="sub-acme", moment=WINDOW, now=NOW, author=AUTHOR
    )
    return issued.invoice_id


async def untaxed(connection: Connection) -> LedgerError | None:
    draft = await preview_invoice(connection, subscription_id="sub-acme", moment=WINDOW, now=NOW)
    return draft.untaxed


async def test_tax_is_on_document_journal_and_invoice_alike(worker: Connection) -> None:
    await azure_hours(await subscribed(worker))
    await registered(worker)
    await treated(worker, "standard")
    invoice_id = await issue(worker)
    (invoice,) = await list_invoices(worker, invoice_id=invoice_id)
    (line,) = invoice.taxes
    assert (line.key.country, line.key.percent) == ("DK", Decimal(25))
    assert (line.base, line.amount) == (Decimal("93.99"), Decimal("23.50"))
    assert (invoice.totals.net, invoice.totals.payable) == (Decimal("93.99"), Decimal("117.49"))
    assert invoice.seller.tax_number == DANISH
    assert await balance_of(worker, "1100") == Decimal("117.49")
    assert await balance_of(worker, "2300") == Decimal("-23.50")
    assert not (await check_books(worker)).differing
    pdf = await document_of(worker, invoice_id)
    text = PdfReader(BytesIO(pdf or b"")).pages[0].extract_text()
    assert "VAT DK 25 %" in text
    assert DANISH in text


async def test_tax_in_prices_is_taken_out_of_them_and_of_revenue(worker: Connection) -> None:
    await azure_hours(await subscribed(worker))
    await registered(worker)
    await treated(worker, "standard", included=True)
    (invoice,) = await list_invoices(worker, invoice_id=await issue(worker))
    sums = invoice.totals
    assert (sums.net, sums.tax, sums.payable) == (
        Decimal("75.19"),
        Decimal("18.80"),
        Decimal("93.99"),
    )
    assert await balance_of(worker, "4000") == Decimal("-93.98831") + Decimal("18.80")
    assert await worker.fetchval("SELECT sum(amount) FROM posting") == 0
    assert not (await check_books(worker)).differing


async def test_who_is_registered_and_said_nothing_of_a_customer_issues_nothing(
    worker: Connection,
) -> None:
    await azure_hours(await subscribed(worker))
    await registered(worker)
    assert "Nobody said how acme is taxed" in str(await untaxed(worker))
    with pytest.raises(MissingInputError, match="Enter a tax treatment"):
        await issue(worker)
    await treated(worker, "reduced")
    assert "No reduced rate of DK" in str(await untaxed(worker))
    with pytest.raises(MissingInputError, match="Enter its tax rate"):
        await issue(worker)
    assert await worker.fetchval("SELECT count(*) FROM invoice_series") == 0
    await treated(worker, "standard")
    assert await untaxed(worker) is None
    await issue(worker)
    assert await worker.fetchval("SELECT number FROM invoice") == "FACTORY-2023-000001"


@pytest.mark.parametrize("number", ["", DANISH])
async def test_reverse_charge_is_refused_before_a_number_is_taken(
    worker: Connection, number: str
) -> None:
    await azure_hours(await subscribed(worker))
    await registered(worker)
    await treated(worker, "reverse_charge")
    change = {"customer_id": "acme", "valid_from": "2020-01-01"}
    if number:
        await change_customer(
            worker, read_input(CustomerChange, change | {"tax_number": number}), AUTHOR
        )
    with pytest.raises(InvalidInputError, match="not one of another EU country"):
        await issue(worker)
    assert await worker.fetchval("SELECT count(*) FROM invoice_series") == 0
    await change_customer(
        worker, read_input(CustomerChange, change | {"tax_number": GERMAN}), AUTHOR
    )
    (invoice,) = await list_invoices(worker, invoice_id=await issue(worker))
    (line,) = invoice.taxes
    assert (line.category, line.key.reason) == ("AE", "Reverse charge")
    assert line.amount == 0
    assert invoice.totals.payable == invoice.totals.net
    assert await document_of(worker, invoice.invoice_id)


async def test_bad_input_is_refused_by_name(worker: Connection) -> None:
    await subscribed(worker)
    wrong = {"entity_id": "factory", "country": "DK", "tax_number": GERMAN, **SINCE}
    with pytest.raises(InvalidInputError, match="no tax number of DK"):
        await enter_tax_registration(worker, read_input(NewTaxRegistration, wrong), AUTHOR)
    await registered(worker)
    other = {"country": "DK", "percent": "24", **SINCE}
    with pytest.raises(ConflictError, match="tax rate DK / standard is already recorded"):
        await enter_tax_rate(worker, read_input(NewTaxRate, other), AUTHOR)


async def test_tampered_tax_is_found(worker: Connection) -> None:
    await azure_hours(await subscribed(worker))
    await registered(worker)
    await treated(worker, "standard")
    await issue(worker)
    await worker.execute(
        """INSERT INTO invoice_tax SELECT invoice_id, 2, customer_id, country, treatment, percent,
                  included, reason, base, amount + 1 FROM invoice_tax"""
    )
    wrong = {(one.table, one.name) for one in (await check_books(worker)).differences}
    assert {
        ("invoice", "tax_total"),
        ("invoice", "base of tax"),
        ("invoice_tax", "amount"),
    } <= wrong
