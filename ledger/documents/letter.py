"""Turns what is overdue into a letter: a PDF in the customer's language."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from ledger.documents.invoice import compile_document, group, printed_parties, spoken
from ledger.documents.words import Words, words_of
from ledger.domain.billing.dunning import Reminder
from ledger.domain.billing.issued import StoredInvoice
from ledger.domain.money import plain, total
from ledger.wire.logo import Logo

TITLES = ("Payment reminder", "Second reminder", "Further reminder")


def render_letter(
    newest: StoredInvoice,
    reminders: Sequence[Reminder],
    *,
    level: int,
    is_last: bool,
    today: date,
    is_test: bool,
    logo: Logo | None = None,
) -> bytes:
    """The letter as PDF/A; parties, language and how to pay are those of the `newest` invoice.

    InvalidInputError where no font has a sign.
    """
    terms = newest.terms
    words = words_of(terms.language)
    currency = reminders[0].item.currency
    owed = total([each.item.open for each in reminders])
    content = {
        **spoken(words, currency),
        **printed_parties(newest.seller, newest.buyer, newest.customer_id),
        "is_test": is_test,
        "currency": currency,
        "title": words.say("Last reminder" if is_last else TITLES[min(level, len(TITLES)) - 1]),
        "issued_on": today.isoformat(),
        "issued": [today.year, today.month, today.day],
        "open": group(plain(owed)),
        "said": _said(words, owed, currency),
        "to_pay": _to_pay(newest, words),
        "heads": [words.say(text) for text in ("Invoice", "Issued", "Due", "Days overdue", "Open")],
        "lines": [
            [
                each.item.number,
                each.item.issued_on.isoformat(),
                each.item.due_on.isoformat(),
                str(each.late_days),
                group(plain(each.item.open)),
            ]
            for each in reminders
        ],
    }
    return compile_document("letter.typ", content, logo)


def _said(words: Words, owed: Decimal, currency: str) -> list[str]:
    return [
        words.say("These invoices are overdue."),
        words.say(
            "Please pay {amount} {currency} now.", amount=group(plain(owed)), currency=currency
        ),
        words.say("If you have paid already, this letter needs nothing of you."),
    ]


def _to_pay(newest: StoredInvoice, words: Words) -> list[str]:
    said = []
    if newest.seller.payment_account:
        said.append(
            words.say(
                "Pay to {account}, naming the invoices.", account=newest.seller.payment_account
            )
        )
    if newest.seller.payment_link:
        said.append(words.say("Pay at {link}.", link=newest.seller.payment_link))
    return said
