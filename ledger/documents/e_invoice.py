"""Turns an invoice or credit note into XML of EN 16931: CII for a PDF (Factur-X), or UBL (Peppol).

The same bytes for the same data: where the library stamps the time, the time of issue is put.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType

from ledger.domain.billing.account import is_iban
from ledger.domain.billing.agreement import EInvoiceForm, Party
from ledger.domain.billing.e_invoice import (
    ElectronicLine,
    danish_number,
    has_prefix,
    written_together,
)
from ledger.domain.billing.issued import Invoice
from ledger.domain.billing.postal import address_lines, town_of
from ledger.domain.billing.tax import RATED, TaxKey, TaxLine, Treatment, describe_tax
from ledger.domain.money import EXACT, ZERO, plain, total
from ledger.domain.period import MICROSECOND, Period, zone

# What Peppol BIS Billing 3.0 says of itself; all else of it is EN 16931.
_PEPPOL = b"urn:cen.eu:en16931:2017#compliant#urn:fdc:peppol.eu:2017:poacc:billing:3.0"
_PEPPOL_PROCESS = "urn:fdc:peppol.eu:2017:poacc:billing:01:1.0"
_CORE = b"urn:cen.eu:en16931:2017"
# Pieces, of UN/ECE recommendation 20: tokens have no unit of their own.
_PIECE = "C62"
_INVOICE, _CREDIT_NOTE = "380", "381"
_TRANSFER, _SEPA_TRANSFER, _ONLINE = "30", "58", "68"
_EXEMPTIONS = MappingProxyType(
    {
        Treatment.REVERSE_CHARGE: "VATEX-EU-AE",
        Treatment.EXPORT: "VATEX-EU-G",
        Treatment.OUTSIDE: "VATEX-EU-O",
    }
)
# As it stands, and with its signs escaped.
_PDF_TIME = re.compile(rb"(D(?::|\\072))\d{14}(?=(?:\+|\\053)00(?:'|\\047)00)")
_XMP_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")


@dataclass(frozen=True, slots=True)
class Document:
    """An invoice, or what is given back for a reason, in amounts above zero; `corrects` says that
    it takes back of its invoice, and `is_test` that it asks nobody for money."""

    invoice: Invoice
    number: str
    issued_at: datetime
    issued_on: date
    lines: Sequence[ElectronicLine]
    taxes: Sequence[TaxLine]
    is_test: bool
    credited_for: str | None = None
    corrects: bool = False

    @property
    def is_outside(self) -> bool:
        """Whether nothing is taxed: then no number of a tax may be named (BR-O-02)."""
        return any(line.key.treatment is Treatment.OUTSIDE for line in self.taxes)


def render_xml(document: Document, form: EInvoiceForm) -> bytes:
    """The XML of a form, checked against its schema."""
    # Loaded where one is made: it would cost every other start a quarter of a second.
    from facturx.generate_xml import generate_xml

    peppol = form is EInvoiceForm.PEPPOL
    written = generate_xml(
        _fields(document, peppol=peppol),
        flavor="ubl-2.1" if peppol else "factur-x",
        level="en16931",
        check_xsd=True,
        # Its schematron check asks a server of its own and passes where none answers.
        check_schematron=None,
    )
    xml = bytes(written)
    return xml.replace(_CORE, _PEPPOL, 1) if peppol else xml


def attach(pdf: bytes, xml: bytes, document: Document) -> bytes:
    """A PDF/A with the XML inside, as Factur-X has it."""
    from facturx import generate_from_binary

    made = generate_from_binary(
        pdf,
        xml,
        flavor="factur-x",
        level="en16931",
        check_xsd=False,
        pdf_metadata={
            "author": document.invoice.seller.name,
            "title": document.number,
            "subject": f"{document.number}, {document.invoice.buyer.name}",
            "keywords": "Factur-X",
        },
        lang=document.invoice.terms.language,
        afrelationship="alternative",
        xmp_compression=False,
    )
    issued = document.issued_at.astimezone(zone("UTC"))
    stamped = _PDF_TIME.sub(rb"\g<1>" + issued.strftime("%Y%m%d%H%M%S").encode(), bytes(made))
    return _XMP_TIME.sub(issued.strftime("%Y-%m-%dT%H:%M:%S+00:00").encode(), stamped)


def _fields(document: Document, *, peppol: bool) -> dict[str, object]:
    """Business terms (BT) and groups (BG) of EN 16931 by their numbers."""
    invoice, zone_name = document.invoice, document.invoice.terms.zone
    net = total([line.net for line in document.lines])
    tax = total([line.amount for line in document.taxes])
    payable = EXACT.add(net, tax)
    credit = _credit(document)
    first, last = _days(invoice.period, zone_name)
    fields: dict[str, object] = {
        "BT-1": document.number,
        "BT-2": document.issued_on,
        "BT-3": _INVOICE if document.credited_for is None else _CREDIT_NOTE,
        "BT-5": invoice.terms.currency,
        "BT-10": invoice.buyer.buyer_reference,
        "BT-23": _PEPPOL_PROCESS if peppol else "",
        "BT-72": last,
        "BT-73": first,
        "BT-74": last,
        "BT-106": plain(net),
        "BT-109": plain(net),
        "BT-110": plain(tax),
        "BT-112": plain(payable),
        "BT-113": plain(credit) if credit else "",
        "BT-115": plain(EXACT.subtract(payable, credit)),
        "BG-1": _notes(document),
        "BG-3": _preceding(document),
        "BG-4": _seller(document),
        "BG-7": _buyer(document),
        "BG-23": [_tax(line) for line in document.taxes],
        "BG-25": [_line(line, zone_name) for line in document.lines],
        **_payment(document),
    }
    return {name: value for name, value in fields.items() if value not in ("", [])}


def _credit(document: Document) -> Decimal:
    """What grants paid of it, with the sign of what it asks for or gives back."""
    if document.corrects:
        return ZERO
    credit = document.invoice.credit
    return EXACT.minus(credit) if document.credited_for is not None else credit


def _payment(document: Document) -> dict[str, object]:
    if document.credited_for is not None:
        return {}
    invoice, seller = document.invoice, document.invoice.seller
    terms = f"Payable by {invoice.due_on.isoformat()}"
    said: dict[str, object] = {"BT-9": invoice.due_on, "BT-20": terms}
    if seller.payment_account:
        account = seller.payment_account.replace(" ", "")
        means = _SEPA_TRANSFER if is_iban(account) else _TRANSFER
        said |= {"BT-81": means, "BT-83": document.number}
        return said | {"BT-84": account, "BT-85": seller.name}
    if seller.payment_link:
        said |= {"BT-81": _ONLINE, "BT-83": document.number}
        return said | {"BT-20": f"{terms} at {seller.payment_link}"}
    return said


def _preceding(document: Document) -> list[dict[str, object]]:
    if not document.corrects:
        return []
    invoice = document.invoice
    day = invoice.issued_at.astimezone(zone(invoice.terms.zone)).date()
    return [{"BT-25": invoice.number, "BT-26": day}]


def _notes(document: Document) -> list[dict[str, object]]:
    test = ["TEST: not a demand for payment"] if document.is_test else []
    return [{"BT-22": note} for note in (*test, document.credited_for) if note]


def _seller(document: Document) -> dict[str, object]:
    seller = document.invoice.seller
    said = _party(seller, document.invoice.entity_id)
    if not seller.tax_number or document.is_outside:
        return said
    number = written_together(seller.tax_number)
    return {**said, "vat_identifier" if has_prefix(number) else "tax_identifier": number}


def _buyer(document: Document) -> dict[str, object]:
    buyer = document.invoice.buyer
    said = _party(buyer, document.invoice.customer_id)
    if not has_prefix(buyer.tax_number) or document.is_outside:
        return said
    return {**said, "vat_identifier": written_together(buyer.tax_number)}


# The scheme of numbers that Denmark gives businesses, in ISO 6523.
_DANISH_BUSINESS = "0184"


def _party(party: Party, party_id: str) -> dict[str, object]:
    scheme, _, address = party.electronic_address.partition(":")
    registered = danish_number(party) or ""
    town, lines = town_of(party), address_lines(party)
    if town.city:
        lines = lines[:-1]
    said: dict[str, object] = {
        "name": party.name,
        "identifiers": {None: party_id},
        "country_code": party.country,
        **dict(zip(("addr_l1", "addr_l2"), lines, strict=False)),
        "addr_l3": ", ".join(lines[2:]),
        **town._asdict(),
        "einvoicing_addr": address,
        "einvoicing_addr_schemeid": scheme if address else "",
        "contacts": [{"email": party.email}] if party.email else [],
        "legal_identifier": registered,
        "legal_identifier_schemeid": _DANISH_BUSINESS if registered else "",
    }
    return {name: value for name, value in said.items() if value not in ("", [])}


def _tax(line: TaxLine) -> dict[str, object]:
    said = {
        "BT-116": plain(line.base),
        "BT-117": plain(line.amount),
        "BT-118": line.category,
        "BT-119": _rate(line.key).get("BT-152", ""),
    }
    if line.key.treatment not in RATED and line.key.treatment is not Treatment.ZERO:
        said["BT-120"] = describe_tax(line)
        said["BT-121"] = _EXEMPTIONS.get(line.key.treatment, "")
    return {name: value for name, value in said.items() if value}


def _rate(key: TaxKey) -> dict[str, str]:
    return {} if key.treatment is Treatment.OUTSIDE else {"BT-152": plain(key.percent)}


def _line(line: ElectronicLine, zone_name: str) -> dict[str, object]:
    issued = line.line
    first, last = _days(issued.key.service_period, zone_name)
    return {
        "BT-126": str(issued.line_no),
        "BT-129": str(line.quantity),
        "BT-130": _PIECE,
        "BT-131": plain(line.net),
        "BT-134": first,
        "BT-135": last,
        "BT-146": plain(line.unit_amount),
        "BT-149": str(line.per),
        "BT-151": line.tax.category,
        "BT-153": issued.description,
        **_rate(line.tax),
    }


def _days(period: Period, zone_name: str) -> tuple[date, date]:
    local = zone(zone_name)
    last = period.end - MICROSECOND
    return period.start.astimezone(local).date(), last.astimezone(local).date()
