"""Turns a credit note into a PDF that names its invoice: the same bytes for the same data."""

from collections.abc import Sequence
from datetime import date

from ledger.documents.invoice import (
    compile_document,
    group,
    printed_line,
    printed_parties,
    printed_tax,
)
from ledger.domain.billing.credit_note import Credit
from ledger.domain.billing.issued import IssuedLine, StoredInvoice
from ledger.domain.money import plain
from ledger.domain.period import describe_days, zone


def render_credit(  # what a credit note says of itself, beside its invoice
    invoice: StoredInvoice,
    lines: Sequence[IssuedLine],
    credit: Credit,
    *,
    number: str,
    reason: str,
    issued_on: date,
    is_test: bool,
) -> bytes:
    """The credit note as PDF/A. InvalidInputError where no font has a sign."""
    terms = invoice.terms
    content = {
        **printed_parties(invoice.seller, invoice.buyer, invoice.customer_id),
        "is_test": is_test,
        "currency": terms.currency,
        "number": number,
        "issued_on": issued_on.isoformat(),
        "issued": [issued_on.year, issued_on.month, issued_on.day],
        "invoice": invoice.number,
        "invoiced_on": invoice.issued_at.astimezone(zone(terms.zone)).date().isoformat(),
        "service": describe_days(invoice.period, terms.zone),
        "reason": reason,
        "lines": [
            {**printed_line(line, terms.zone), "amount": group(plain(credit.lines[line.line_no]))}
            for line in lines
            if line.line_no in credit.lines
        ],
        "net": group(plain(credit.net)),
        "taxes": [printed_tax(line) for line in credit.taxes],
        "payable": group(plain(credit.payable)),
    }
    return compile_document("credit_note.typ", content)
