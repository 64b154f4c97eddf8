"""Turns a credit note into a PDF that names its invoice: the same bytes for the same data."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from ledger.documents.invoice import (
    compile_document,
    group,
    printed_days,
    printed_line,
    printed_parties,
    printed_tax,
    spoken,
)
from ledger.documents.words import words_of
from ledger.domain.billing.credit_note import Credit
from ledger.domain.billing.issued import IssuedLine, StoredInvoice
from ledger.domain.money import plain
from ledger.domain.period import zone
from ledger.wire.logo import Logo


@dataclass(frozen=True, slots=True)
class CreditTitle:
    """What a credit note says of itself, beside what it credits."""

    number: str
    reason: str
    issued_at: datetime
    issued_on: date
    is_test: bool
    logo: Logo | None = None


def render_credit(
    invoice: StoredInvoice, lines: Sequence[IssuedLine], credit: Credit, title: CreditTitle
) -> bytes:
    """The credit note as PDF/A. InvalidInputError where no font has a sign."""
    terms, day = invoice.terms, title.issued_on
    words = words_of(terms.language)
    invoiced_on = invoice.issued_at.astimezone(zone(terms.zone)).date().isoformat()
    content = {
        **spoken(words, terms.currency),
        **printed_parties(invoice.seller, invoice.buyer, invoice.customer_id),
        "is_test": title.is_test,
        "currency": terms.currency,
        "number": title.number,
        "issued_on": day.isoformat(),
        "issued": [day.year, day.month, day.day],
        "invoiced": words.say("{number} of {day}", number=invoice.number, day=invoiced_on),
        "evidence": words.say(
            "{number} to invoice {invoice}.", number=title.number, invoice=invoice.number
        ),
        "service": printed_days(invoice.period, terms.zone, words),
        "reason": title.reason,
        "lines": [
            {
                **printed_line(line, terms, words),
                "amount": group(plain(credit.lines[line.line_no])),
            }
            for line in lines
            if line.line_no in credit.lines
        ],
        "net": group(plain(credit.net)),
        "taxes": [printed_tax(line, words) for line in credit.taxes],
        "payable": group(plain(credit.payable)),
    }
    return compile_document("credit_note.typ", content, title.logo)
