"""What goes out of an invoice or a credit note: its PDF, with or beside its electronic form."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal

from ledger.documents.credit_note import CreditTitle, render_credit
from ledger.documents.e_invoice import Document, attach, render_xml
from ledger.documents.invoice import render_pdf
from ledger.domain.billing.agreement import EInvoiceForm
from ledger.domain.billing.credit_note import Credit
from ledger.domain.billing.e_invoice import (
    ElectronicLine,
    electronic_lines,
    mirrored_line,
    mirrored_tax,
)
from ledger.domain.billing.issued import PDF, XML, Invoice, IssuedLine, StoredInvoice
from ledger.domain.billing.tax import TaxKey, TaxLine
from ledger.wire.logo import Logo

ADJUSTED = "What changed about periods invoiced before"


def media_types(form: EInvoiceForm) -> tuple[str, ...]:
    """In which files a buyer gets its invoices."""
    return (PDF, XML) if form is EInvoiceForm.PEPPOL else (PDF,)


def invoice_forms(
    invoice: Invoice,
    lines: Sequence[IssuedLine],
    keys: Sequence[TaxKey | None],
    *,
    issued_on: date,
    is_test: bool,
    days: Mapping[date, Decimal],
    logo: Logo | None = None,
) -> dict[str, bytes]:
    """Documents of an invoice by media type; `keys` say how each line is taxed, `days` what was
    charged by day."""
    pdf = render_pdf(invoice, lines, issued_on=issued_on, is_test=is_test, days=days, logo=logo)
    taxes, back = invoice.taxes, invoice.totals.gives_back
    if back:
        lines, taxes = [mirrored_line(line) for line in lines], tuple(map(mirrored_tax, taxes))
    amounts = {line.line_no: line.amount for line in lines}
    document = Document(
        invoice=invoice,
        number=invoice.number,
        issued_at=invoice.issued_at,
        issued_on=issued_on,
        lines=_lines(invoice, lines, amounts, keys, taxes),
        taxes=taxes,
        is_test=is_test,
        credited_for=ADJUSTED if back else None,
    )
    return _forms(pdf, document)


def credit_forms(
    invoice: StoredInvoice,
    lines: Sequence[IssuedLine],
    keys: Sequence[TaxKey | None],
    credit: Credit,
    title: CreditTitle,
) -> dict[str, bytes]:
    """Documents of a credit note by media type."""
    pdf = render_credit(invoice, lines, credit, title)
    document = Document(
        invoice=invoice,
        number=title.number,
        issued_at=title.issued_at,
        issued_on=title.issued_on,
        lines=_lines(invoice, lines, credit.lines, keys, credit.taxes),
        taxes=credit.taxes,
        is_test=title.is_test,
        credited_for=title.reason,
        corrects=True,
    )
    return _forms(pdf, document)


def _forms(pdf: bytes, document: Document) -> dict[str, bytes]:
    form = document.invoice.buyer.e_invoice
    if form is EInvoiceForm.NONE:
        return {PDF: pdf}
    xml = render_xml(document, form)
    if form is EInvoiceForm.FACTUR_X:
        return {PDF: attach(pdf, xml, document)}
    return {PDF: pdf, XML: xml}


def _lines(
    invoice: Invoice,
    lines: Sequence[IssuedLine],
    amounts: Mapping[int, Decimal],
    keys: Sequence[TaxKey | None],
    taxes: Sequence[TaxLine],
) -> Sequence[ElectronicLine]:
    """Lines without tax; an invoice that is not taxed has no electronic form."""
    taxed = [key for key in keys if key is not None]
    if len(taxed) < len(lines):
        return ()
    currency, mode = invoice.terms.currency, invoice.terms.rounding
    return electronic_lines(lines, amounts, taxed, taxes, currency=currency, mode=mode)
