"""Turns a credit note into a PDF that names its invoice: the same bytes for the same data."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

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


@dataclass(frozen=True, slots=True)
class CreditTitle:
    """What a credit note says of itself, beside what it credits."""

    number: str
    reason: str
    issued_at: datetime
    issued_on: date
    is_test: bool


def render_credit(
    invoice: StoredInvoice, lines: Sequence[IssuedLine], credit: Credit, title: CreditTitle
) -> bytes:
    """The credit note as PDF/A. InvalidInputError where no font has a sign."""
    terms, day = invoice.terms, title.issued_on
    content = {
        **printed_parties(invoice.seller, invoice.buyer, invoice.customer_id),
        "is_test": title.is_test,
        "currency": terms.currency,
        "number": title.number,
        "issued_on": day.isoformat(),
        "issued": [day.year, day.month, day.day],
        "invoice": invoice.number,
        "invoiced_on": invoice.issued_at.astimezone(zone(terms.zone)).date().isoformat(),
        "service": describe_days(invoice.period, terms.zone),
        "reason": title.reason,
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
