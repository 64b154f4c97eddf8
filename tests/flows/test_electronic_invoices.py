"""Electronic invoices from what was entered to the stored file, held to the official rules."""

from io import BytesIO

import pytest
from pypdf import PdfReader

from ledger.domain.billing.agreement import EInvoiceForm
from ledger.domain.billing.issued import PDF, XML
from ledger.domain.errors import InvalidInputError, NotFoundError
from ledger.flows.billing.credit import credit_invoice
from ledger.flows.billing.invoice import issue_invoice, preview_invoice
from ledger.flows.billing.issue import IssueRules
from ledger.flows.reference.parties import change_customer, change_entity, enter_entity
from ledger.store.billing.invoice import list_invoices
from ledger.store.billing.receivables import find_credit_document
from ledger.store.queries import Connection
from ledger.wire.changes import CustomerChange, EntityChange
from ledger.wire.errors import InputError
from ledger.wire.inputs import read_input
from ledger.wire.party_inputs import NewEntity
from tests.flows.billing import (
    AUTHOR,
    NOW,
    WINDOW,
    azure_hours,
    document_of,
    registered,
    subscribed,
    treated,
)
from tests.support.books import Books, Tokens
from tests.support.en16931 import failed

DAY = {"valid_from": "2020-01-01"}
IBAN = "DK50 0040 0440 1162 43"


async def seller_says(connection: Connection, **said: str) -> None:
    change = read_input(EntityChange, {"entity_id": "factory", **DAY, **said})
    await change_entity(connection, change, AUTHOR)


async def buyer_says(connection: Connection, **said: str) -> None:
    change = read_input(CustomerChange, {"customer_id": "acme", **DAY, **said})
    await change_customer(connection, change, AUTHOR)


async def sold(connection: Connection) -> None:
    """Usage of a customer that is taxed, between parties whose countries are known."""
    await azure_hours(await subscribed(connection))
    await registered(connection)
    await treated(connection, "standard")
    await seller_says(connection, country="DK", payment_account=IBAN)
    await buyer_says(connection, country="DE", address="Weg 1\n10115 Berlin")


async def issue(connection: Connection) -> int:
    issued = await issue_invoice(
        connection, subscription_id="sub-acme", moment=WINDOW, now=NOW, author=AUTHOR
    )
    return issued.invoice_id


async def test_factur_x_is_inside_the_pdf(worker: Connection) -> None:
    await sold(worker)
    await buyer_says(worker, e_invoice="factur_x")
    invoice_id = await issue(worker)
    pdf = await document_of(worker, invoice_id)
    (xml,) = PdfReader(BytesIO(pdf or b"")).attachments["factur-x.xml"]
    assert failed(xml, EInvoiceForm.FACTUR_X) == []
    assert b"117.49" in xml
    assert IBAN.replace(" ", "").encode() in xml
    with pytest.raises(NotFoundError, match="without a file"):
        await document_of(worker, invoice_id, XML)


async def test_a_period_with_nothing_new_lacks_nothing(worker: Connection) -> None:
    await sold(worker)
    await buyer_says(worker, e_invoice="factur_x")
    await issue(worker)
    again = await preview_invoice(worker, subscription_id="sub-acme", moment=WINDOW, now=NOW)
    assert (again.is_billed, again.lines, again.incomplete) == (True, (), None)


async def test_peppol_goes_out_beside_the_pdf_and_so_does_its_credit_note(
    worker: Connection,
) -> None:
    await sold(worker)
    await seller_says(worker, electronic_address="0088:5790000435968")
    await buyer_says(
        worker,
        e_invoice="peppol",
        electronic_address="9930:DE136695976",
        buyer_reference="Order 7",
    )
    invoice_id = await issue(worker)
    (invoice,) = await list_invoices(worker, invoice_id=invoice_id)
    xml = await document_of(worker, invoice_id, XML)
    assert failed(xml or b"", EInvoiceForm.PEPPOL) == []
    assert b"Order 7" in (xml or b"")
    assert await document_of(worker, invoice_id, PDF)
    credited = await credit_invoice(
        worker, named=invoice.number, lines=None, now=NOW, author=AUTHOR
    )
    note = await find_credit_document(worker, named=credited.number, media_type=XML)
    assert failed(note or b"", EInvoiceForm.PEPPOL) == []
    assert invoice.number.encode() in (note or b"")


async def test_what_is_given_back_is_a_credit_note_above_zero(worker: Connection) -> None:
    await sold(worker)
    await buyer_says(worker, e_invoice="factur_x")
    await issue(worker)
    await Books(worker).usage(WINDOW, Tokens(uncached=-1_000_000))
    given = await issue_invoice(
        worker,
        subscription_id="sub-acme",
        moment=WINDOW,
        now=NOW,
        author=AUTHOR,
        allow=IssueRules(supplementary=True),
    )
    assert (given.number, f"{given.payable:f}") == ("FACTORY-C-2023-000001", "-6.25")
    pdf = await document_of(worker, given.invoice_id)
    reader = PdfReader(BytesIO(pdf or b""))
    (xml,) = reader.attachments["factur-x.xml"]
    assert failed(xml, EInvoiceForm.FACTUR_X) == []
    assert b"<ram:TypeCode>381</ram:TypeCode>" in xml
    assert b"<ram:DuePayableAmount>6.25</ram:DuePayableAmount>" in xml
    assert "CREDIT NOTE" in reader.pages[0].extract_text()


async def test_what_would_not_validate_is_refused_before_a_number_is_taken(
    worker: Connection,
) -> None:
    await sold(worker)
    await buyer_says(worker, e_invoice="peppol", country="")
    draft = await preview_invoice(worker, subscription_id="sub-acme", moment=WINDOW, now=NOW)
    assert draft.incomplete is not None
    with pytest.raises(InvalidInputError) as refused:
        await issue(worker)
    assert refused.value.wrong == draft.incomplete.wrong
    for what in ("the country of the customer", "buyer_reference", "of the entity"):
        assert what in refused.value.wrong
    assert await worker.fetchval("SELECT count(*) FROM invoice_series") == 0
    await buyer_says(worker, e_invoice="none")
    await issue(worker)


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"country": "Denmark"}, "in two letters"),
        ({"electronic_address": "5790000435968"}, "send scheme and address"),
        ({"electronic_address": "9999:1"}, "send scheme and address"),
        ({"payment_link": "http://pay.example"}, "begins with https://"),
        ({"payment_link": "https://pay.example/<b>"}, "begins with https://"),
    ],
)
def test_bad_addresses_are_refused_by_name(said: dict[str, str], wrong: str) -> None:
    entity = {"entity_id": "a", "name": "A", "currency": "EUR", "zone": "UTC"}
    with pytest.raises(InputError, match=wrong):
        read_input(NewEntity, entity | said)
    with pytest.raises(InputError, match=wrong):
        read_input(EntityChange, {"entity_id": "a", **DAY, **said})


async def test_an_iban_with_a_slip_is_refused(worker: Connection) -> None:
    entity = {"entity_id": "a", "name": "A", "currency": "EUR", "zone": "UTC"}
    slipped = read_input(NewEntity, entity | {"payment_account": "DK50 0040 0440 1162 44"})
    with pytest.raises(InvalidInputError, match="no IBAN"):
        await enter_entity(worker, slipped, AUTHOR)
    await sold(worker)
    with pytest.raises(InvalidInputError, match="no IBAN"):
        await seller_says(worker, payment_account="DK50 0040 0440 1162 44")
