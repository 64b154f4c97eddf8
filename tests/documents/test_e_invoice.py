"""Electronic invoices, held to the official schemas and schematrons of EN 16931."""

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from io import BytesIO
from pathlib import Path

import facturx
import pytest
from lxml import etree
from pypdf import PdfReader

from ledger.documents.e_invoice import Document, attach, render_xml
from ledger.documents.fonts import compile_shown
from ledger.documents.invoice import describe
from ledger.domain.billing.agreement import Buyer, EInvoiceForm, Seller, Terms
from ledger.domain.billing.e_invoice import check_e_invoice, danish_number, electronic_lines
from ledger.domain.billing.invoice import InvoiceLine, InvoiceTotals, LineKey
from ledger.domain.billing.issued import Invoice
from ledger.domain.billing.postal import town_of
from ledger.domain.billing.tax import TaxKey, TaxLine, Treatment, tax_on
from ledger.domain.errors import InvalidInputError
from ledger.domain.money import round_minor, total
from ledger.domain.period import Period
from ledger.domain.pricing.models.per_unit import PerUnit
from tests.conftest import lacking
from tests.support.en16931 import RulesUnavailableError, failed, failed_by, peppol_rules

OCTOBER = datetime(2026, 9, 30, 22, tzinfo=UTC)
NOVEMBER = datetime(2026, 10, 31, 23, tzinfo=UTC)
FORMS = (EInvoiceForm.FACTUR_X, EInvoiceForm.PEPPOL)
SELLER = Seller(
    "Tokenværk ApS",
    "Smelteovnen 1\n2100 København",
    "DK13585628",
    "bills@factory.example",
    country="DK",
    electronic_address="0088:5790000435968",
    payment_account="DK50 0040 0440 1162 43",
)
BUYER = Buyer(
    "Müller & Söhne <GmbH>",
    "Straße 2\nHof links\n10115 Berlin",
    "DE136695976",
    "",
    country="DE",
    electronic_address="9930:DE136695976",
    buyer_reference="PO 7",
    e_invoice=EInvoiceForm.PEPPOL,
)
STANDARD = TaxKey("DK", Treatment.STANDARD, Decimal(25), included=False, reason="")
REDUCED = TaxKey("DK", Treatment.REDUCED, Decimal("5.5"), included=False, reason="")
REVERSE = TaxKey(
    "DK", Treatment.REVERSE_CHARGE, Decimal(0), included=False, reason="Reverse charge"
)
OUTSIDE = TaxKey(
    "DK", Treatment.OUTSIDE, Decimal(0), included=False, reason="Outside the scope of tax"
)
EXEMPT = TaxKey("DK", Treatment.EXEMPT, Decimal(0), included=False, reason="Exempt by § 13")
EXPORT = TaxKey("DK", Treatment.EXPORT, Decimal(0), included=False, reason="Export outside the EU")
NOTHING = TaxKey("DK", Treatment.ZERO, Decimal(0), included=False, reason="")
INCLUDED = replace(STANDARD, included=True)
PRICES = {1: PerUnit(amount=Decimal("0.59")), 2: PerUnit(amount=Decimal("0.79"))}
# (price, tokens): the worked example, something that takes back, and something of odd cents.
SOLD = ((1, 8_400_000), (2, 2_100_001), (2, -1_234_567))


def document(
    *keys: TaxKey,
    currency: str = "EUR",
    credited_for: str | None = None,
    seller: Seller = SELLER,
    is_test: bool = False,
) -> Document:
    """Three lines, taxed by the keys in turn."""
    drafted = [
        InvoiceLine(
            "usage" if tokens > 0 else "adjustment",
            LineKey(OCTOBER, NOVEMBER, "llama", "", "", "", 0, "input_uncached", price_id),
            tokens,
            exact := PRICES[price_id].amount * tokens / 1_000_000,
            round_minor(exact, currency),
        )
        for price_id, tokens in SOLD
    ]
    lines = describe(drafted, PRICES)
    taxed = [keys[n % len(keys)] for n in range(len(lines))]
    taxes = tuple(
        tax_on(
            key,
            total([line.amount for line, own in zip(lines, taxed, strict=True) if own == key]),
            currency,
            "half_up",
        )
        for key in sorted(set(keys))
    )
    amounts = {line.line_no: line.amount for line in lines}
    return Document(
        invoice=invoice_of(seller, taxes, currency),
        number="TV-2026-000001" if credited_for is None else "TV-C-2026-000001",
        issued_at=NOVEMBER,
        issued_on=date(2026, 11, 1),
        lines=electronic_lines(lines, amounts, taxed, taxes, currency=currency, mode="half_up"),
        taxes=taxes,
        is_test=is_test,
        credited_for=credited_for,
        corrects=credited_for is not None,
    )


def invoice_of(seller: Seller, taxes: tuple[TaxLine, ...], currency: str) -> Invoice:
    return Invoice(
        number="TV-2026-000001",
        entity_id="factory",
        customer_id="acme",
        subscription_id="acme-list",
        period=Period(OCTOBER, NOVEMBER),
        run_no=1,
        seller=seller,
        buyer=BUYER,
        terms=Terms("list", "List", currency, "en", 30, "half_up", "Europe/Copenhagen", currency),
        totals=InvoiceTotals(Decimal(0), Decimal(0), Decimal(0)),
        taxes=taxes,
        prices={},
        issued_at=NOVEMBER,
        due_on=date(2026, 12, 1),
        event_cut_off=NOVEMBER,
        cut_off_id=1,
        cut_off_seq=1,
    )


CASES: Mapping[str, Document] = {
    "one-rate": document(STANDARD),
    "two-rates": document(STANDARD, REDUCED),
    "reverse-charge": document(REVERSE),
    "outside-the-scope": document(OUTSIDE),
    "exempt": document(EXEMPT),
    "export": document(EXPORT),
    "zero-rate": document(NOTHING),
    "no-minor-unit": document(STANDARD, currency="JPY"),
    "prices-with-tax": document(INCLUDED),
    "credit-note": document(STANDARD, credited_for="Counted twice"),
    "to-a-link": document(
        STANDARD,
        seller=replace(SELLER, payment_account="", payment_link="https://pay.example/1"),
    ),
    "to-an-account": document(STANDARD, seller=replace(SELLER, payment_account="0040-0440116243")),
    "no-way-to-pay": document(STANDARD, seller=replace(SELLER, payment_account="")),
    "of-a-test": document(STANDARD, is_test=True),
    "number-with-blanks": document(STANDARD, seller=replace(SELLER, tax_number="DK 13 58.56-28")),
    "seller-without-prefix": document(STANDARD, seller=replace(SELLER, tax_number="13585628")),
}


# Tax number and last line of the address of parties of a country.
HOMES = {
    "AT": ("ATU12345675", "1010 Wien"),
    "DE": ("DE136695976", "10115 Berlin"),
    "FR": ("FR12345678901", "F-75001 Paris"),
    "GB": ("GB123456789", "London SW1A 1AA"),
    "GR": ("EL123456789", "105 57 Athina"),
    "IS": ("IS12345", "101 Reykjavik"),
    "IT": ("IT12345678901", "00184 Roma"),
    "NL": ("NL123456789B01", "1012 AB Amsterdam"),
    "NO": ("NO974760673MVA", "0150 Oslo"),
    "PL": ("PL1234563218", "00-001 Warszawa"),
    "SE": ("SE123456789701", "111 22 Stockholm"),
}


def at_home(country: str) -> Document:
    """Of a seller to a buyer of the same country."""
    number, town = HOMES[country]
    address = f"Street 1\n{town}"
    seller = replace(SELLER, country=country, tax_number=number, address=address)
    buyer = replace(BUYER, country=country, tax_number=number, address=address)
    made = document(STANDARD, seller=seller)
    return replace(made, invoice=replace(made.invoice, buyer=buyer))


def is_refused(made: Document, form: EInvoiceForm) -> bool:
    told = made.invoice
    currency = told.terms.currency
    try:
        check_e_invoice(told.seller, told.buyer, made.taxes, form=form, currency=currency)
    except InvalidInputError:
        return True
    return False


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CASES)
def test_documents_pass_the_official_rules(
    name: str, form: EInvoiceForm, caplog: pytest.LogCaptureFixture
) -> None:
    xml = render_xml(CASES[name], form)
    assert caplog.messages == [], "it asked somebody, or left something out"
    assert failed(xml, form) == []
    assert render_xml(CASES[name], form) == xml


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("was", "becomes", "rule"),
    [
        (b">7.05<", b">7.06<", "BR-CO-15"),
        (b"TV-2026-000001", b"", "BR-02"),
        (b"DK13585628", b"1K13585628", "BR-CO-09"),
    ],
)
def test_the_rules_catch_what_is_wrong(
    form: EInvoiceForm, was: bytes, becomes: bytes, rule: str
) -> None:
    xml = render_xml(CASES["one-rate"], form)
    assert was in xml
    broken = failed(xml.replace(was, becomes), form)
    assert any(rule in found for found in broken)


@pytest.fixture(scope="module")
def peppol() -> Path:
    try:
        return peppol_rules()
    except RulesUnavailableError as error:
        lacking(f"NO RULES OF PEPPOL: {error}")


def test_ubl_passes_the_rules_of_peppol_which_catch_what_is_wrong(peppol: Path) -> None:
    written = {name: render_xml(each, EInvoiceForm.PEPPOL) for name, each in CASES.items()}
    number = b'<cbc:CompanyID schemeID="0184">13585628</cbc:CompanyID>'
    assert number in written["one-rate"]
    nameless = written["one-rate"].replace(number, b"")
    found = failed_by(peppol, written | {"nameless": nameless})
    (wrong,) = found.pop("nameless")
    assert "DK-R-002" in wrong
    assert found == {name: [] for name in CASES}


def test_what_would_not_validate_in_its_country_is_refused_and_nothing_else(peppol: Path) -> None:
    made = {country: at_home(country) for country in HOMES}
    townless = replace(SELLER, country="IT", tax_number="IT12345678901", address="Via 1, Roma")
    made["nowhere"] = document(STANDARD, seller=townless)
    form = EInvoiceForm.PEPPOL
    found = failed_by(peppol, {name: render_xml(each, form) for name, each in made.items()})
    refused = {name for name, each in made.items() if is_refused(each, form)}
    assert (
        refused == {name for name, wrong in found.items() if wrong} == {"DE", "GR", "IS", "nowhere"}
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("made", "rule"),
    [
        (document(STANDARD, currency="KWD"), "BR-DEC-23"),
        (
            document(EXPORT, seller=replace(SELLER, country="US", tax_number="12-3456789")),
            "BR-G-02",
        ),
    ],
)
def test_what_the_rules_refuse_is_refused_before(
    made: Document, rule: str, form: EInvoiceForm
) -> None:
    assert is_refused(made, form)
    assert any(rule in wrong for wrong in failed(render_xml(made, form), form))


@pytest.mark.parametrize("name", CASES)
def test_what_passes_the_rules_is_not_refused(name: str) -> None:
    assert not is_refused(CASES[name], EInvoiceForm.PEPPOL)


def test_post_code_and_town_are_told_apart_where_the_address_ends_with_them() -> None:
    def placed(country: str, address: str) -> tuple[str, str]:
        return town_of(replace(BUYER, country=country, address=address))

    for prefix in ("", "D-", "DE-"):
        assert placed("DE", f"Straße 2\n{prefix}10115 Berlin ") == ("10115", "Berlin")
    assert placed("NL", "Dam 1\n1012AB Amsterdam\n") == ("1012AB", "Amsterdam")
    for country, address in {
        "DE": "10115 Berlin",
        "US": "1 Main Street\n10115 Berlin",
        "DK": "Vej 1\n1600 Town 4",
    }.items():
        assert placed(country, address) == ("", "")


def test_a_danish_seller_is_named_by_its_number_or_told_that_it_lacks_one() -> None:
    taxes = CASES["outside-the-scope"].taxes
    for number in ("DK13585628", "13585628", "DK 13585628", "13 58 56 28"):
        seller = replace(SELLER, tax_number=number)
        check_e_invoice(seller, BUYER, taxes, form=EInvoiceForm.PEPPOL, currency="EUR")
        assert danish_number(seller) == "13585628"
    for number in ("", "DE136695976", "1358562"):
        seller = replace(SELLER, tax_number=number)
        with pytest.raises(InvalidInputError, match="a Danish tax number of the entity"):
            check_e_invoice(seller, BUYER, taxes, form=EInvoiceForm.PEPPOL, currency="EUR")
    assert danish_number(BUYER) is None


def test_lines_are_quantity_times_price_and_add_up() -> None:
    for name, made in CASES.items():
        by_key = {tax.key: tax.base for tax in made.taxes}
        for key, base in by_key.items():
            assert sum(line.net for line in made.lines if line.tax == key) == base, name
        for line in made.lines:
            assert line.unit_amount >= 0
            exact = line.unit_amount * line.quantity / line.per
            assert abs(exact - line.net) <= Decimal("0.5"), name
            assert line.net == round_minor(exact, made.invoice.terms.currency), name


def test_tokens_are_priced_by_the_million() -> None:
    xml = render_xml(CASES["one-rate"], EInvoiceForm.PEPPOL).decode()
    assert '<cbc:PriceAmount currencyID="EUR">0.59</cbc:PriceAmount>' in xml
    assert '<cbc:BaseQuantity unitCode="C62">1000000</cbc:BaseQuantity>' in xml


def test_ubl_says_that_it_follows_peppol() -> None:
    root = etree.fromstring(render_xml(CASES["one-rate"], EInvoiceForm.PEPPOL))
    said = {etree.QName(child).localname: child.text for child in root}
    assert said["CustomizationID"] == (
        "urn:cen.eu:en16931:2017#compliant#urn:fdc:peppol.eu:2017:poacc:billing:3.0"
    )
    assert said["ProfileID"] == "urn:fdc:peppol.eu:2017:poacc:billing:01:1.0"
    ends = [end for end in root.iter() if etree.QName(end).localname == "EndpointID"]
    assert [(end.get("schemeID"), end.text) for end in ends] == [
        ("0088", "5790000435968"),
        ("9930", "DE136695976"),
    ]


def test_a_pdf_holds_the_xml_and_is_the_same_again() -> None:
    made = CASES["one-rate"]
    xml = render_xml(made, EInvoiceForm.FACTUR_X)
    plain_pdf = compile_shown(
        b'#set document(title: "x", date: datetime(year: 2026, month: 11, day: 1))\nHello', {}
    )
    pdf = attach(plain_pdf, xml, made)
    # Its library stamps the second in which it works.
    time.sleep(1.001)
    assert attach(plain_pdf, xml, made) == pdf
    reader = PdfReader(BytesIO(pdf))
    assert reader.attachments["factur-x.xml"] == [xml]
    metadata = reader.xmp_metadata
    assert metadata is not None
    said = metadata.stream.get_data().decode()
    assert "<fx:ConformanceLevel>EN 16931</fx:ConformanceLevel>" in said
    assert "<pdfaid:part>3</pdfaid:part>" in said
    assert facturx.get_facturx_xml_from_pdf(pdf, check_xsd=True)[1] == xml


def test_what_would_not_validate_is_refused_by_all_that_it_lacks() -> None:
    seller, buyer = replace(SELLER, country="", electronic_address=""), replace(BUYER, country="")
    taxes = CASES["one-rate"].taxes
    with pytest.raises(InvalidInputError) as refused:
        check_e_invoice(seller, buyer, taxes, form=EInvoiceForm.PEPPOL, currency="EUR")
    for what in ("the country of the entity", "the country of the customer", "electronic_address"):
        assert what in refused.value.wrong
    with pytest.raises(InvalidInputError, match="a tax treatment of the customer"):
        check_e_invoice(SELLER, BUYER, (), form=EInvoiceForm.FACTUR_X, currency="EUR")
    mixed = [TaxLine(key, Decimal(1), Decimal(0)) for key in (OUTSIDE, STANDARD)]
    with pytest.raises(InvalidInputError, match="outside the scope"):
        check_e_invoice(SELLER, BUYER, mixed, form=EInvoiceForm.FACTUR_X, currency="EUR")
    with pytest.raises(InvalidInputError, match="buyer_reference"):
        check_e_invoice(
            SELLER,
            replace(BUYER, buyer_reference=""),
            taxes,
            form=EInvoiceForm.PEPPOL,
            currency="EUR",
        )
    check_e_invoice(
        SELLER,
        replace(BUYER, buyer_reference=""),
        taxes,
        form=EInvoiceForm.FACTUR_X,
        currency="EUR",
    )
