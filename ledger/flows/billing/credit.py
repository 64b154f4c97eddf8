"""Credits part or all of an invoice by a document of its own; the invoice stays as it went out."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from hashlib import sha256

from ledger.documents.credit_note import CreditTitle
from ledger.documents.forms import credit_forms
from ledger.domain.author import Author
from ledger.domain.billing.advance import deferred_of
from ledger.domain.billing.credit_note import Credit, CreditableLine, credit_lines
from ledger.domain.billing.issued import IssuedLine, Series, StoredInvoice, numbered
from ledger.domain.billing.tax import TaxKey
from ledger.domain.books.booking import Currencies, credit_issued, invoice_voided
from ledger.domain.books.journal import JournalEntry
from ledger.domain.errors import ConflictError, InvalidInputError
from ledger.domain.money import EXACT, ZERO, round_minor
from ledger.domain.period import hour_start, zone
from ledger.flows.billing.apply_credit import take_applied_back
from ledger.flows.billing.document import tax_keys_of
from ledger.flows.billing.trace import find_invoice
from ledger.flows.reference.supersede import keep_write, writing
from ledger.store import parties
from ledger.store.billing import receivables as store
from ledger.store.billing.disputes import resolve_credited
from ledger.store.billing.invoice import list_lines, take_numbers
from ledger.store.billing.receivables import CreditHead
from ledger.store.books.journal import book_entries
from ledger.store.connect import draw_batch_seq, draw_cut_off
from ledger.store.queries import Connection


@dataclass(frozen=True, slots=True)
class IssuedCredit:
    """What came of crediting; `on_account` is what the invoice owed no more."""

    credit_note_id: int
    number: str
    invoice: str
    net_total: Decimal
    tax_total: Decimal
    payable: Decimal
    on_account: Decimal
    currency: str


Seal = Callable[[IssuedCredit], Awaitable[None]]


async def credit_invoice(
    connection: Connection,
    *,
    named: str,
    lines: Mapping[int, Decimal] | None,
    now: datetime,
    author: Author,
    void: bool = False,
    seal: Seal | None = None,
) -> IssuedCredit:
    """Credit amounts of lines, or (None) all that is left of an invoice, by its number or id.

    Void, it is taken back as if it had never been: what it billed is unbilled again. Its tax is
    taken back with it, and what the invoice owes no more is on the customer's account; `seal` keeps
    what came of it in the same transaction.
    NotFoundError, InvalidInputError and ConflictError say what cannot be credited.
    """
    async with writing(connection):
        invoice = await find_invoice(connection, named)
        await store.lock_receivables(connection, invoice.entity_id)
        printed = await list_lines(connection, invoice_id=invoice.invoice_id)
        keys = await tax_keys_of(connection, invoice, printed)
        if void:
            await _check_voidable(connection, invoice)
        credit = await _credit(connection, invoice, printed, keys, None if void else lines)
        issued = await _issue(
            connection, _Crediting(invoice, printed, keys, credit, void), now, author
        )
        if seal is not None:
            await seal(issued)
        return issued


@dataclass(frozen=True, slots=True)
class _Crediting:
    """What is credited of which invoice, whose lines are taxed by `keys`."""

    invoice: StoredInvoice
    lines: Sequence[IssuedLine]
    keys: Sequence[TaxKey | None]
    credit: Credit
    void: bool


async def _check_voidable(connection: Connection, invoice: StoredInvoice) -> None:
    """ConflictError where something of it was credited, or a later invoice of its period stands."""
    if await store.list_credited_lines(connection, invoice_id=invoice.invoice_id):
        raise ConflictError(
            f"Something of {invoice.number} was credited before: it cannot be void as a whole.",
            "Credit what is left of it.",
        )
    later = await store.find_later_run(connection, invoice_id=invoice.invoice_id)
    if later is not None:
        raise ConflictError(
            f"{later} bills what changed about the period of {invoice.number} since.",
            f"Void {later} first.",
        )


async def _credit(
    connection: Connection,
    invoice: StoredInvoice,
    lines: Sequence[IssuedLine],
    keys: Sequence[TaxKey | None],
    asked: Mapping[int, Decimal] | None,
) -> Credit:
    before = await store.list_credited_lines(connection, invoice_id=invoice.invoice_id)
    creditable = [
        CreditableLine(line.line_no, line.amount, key, before.get(line.line_no, ZERO))
        for line, key in zip(lines, keys, strict=True)
    ]
    credit = credit_lines(
        creditable, asked, currency=invoice.terms.currency, mode=invoice.terms.rounding
    )
    if credit.payable <= 0:
        raise InvalidInputError(
            "A credit note gives something back, and these lines together would ask for more.",
            "Leave lines below zero out.",
            "lines",
        )
    return credit


async def _issue(
    connection: Connection, crediting: _Crediting, now: datetime, author: Author
) -> IssuedCredit:
    invoice, credit = crediting.invoice, crediting.credit
    seller = await _seller(connection, invoice, now)
    cut_off = await draw_cut_off(connection, "credit note")
    batch_seq = await draw_batch_seq(connection)
    if crediting.void:
        await take_applied_back(
            connection, invoice, booked_for=seller.hour, cut_off=cut_off, batch_seq=batch_seq
        )
    head = await _head(connection, crediting, seller, author.reason)
    credit_note_id = await store.insert_credit_note(connection, head, credit, batch_seq=batch_seq)
    await resolve_credited(connection, credit_note_id=credit_note_id)
    logo = await parties.find_logo(connection, invoice.entity_id)
    title = CreditTitle(head.number, head.reason, now, seller.today, seller.is_test, logo)
    forms = credit_forms(invoice, crediting.lines, crediting.keys, credit, title)
    for media_type, content in forms.items():
        await store.insert_credit_document(
            connection,
            credit_note_id=credit_note_id,
            media_type=media_type,
            sha256=sha256(content).digest(),
            content=content,
        )
    entry = _entry(head, crediting, seller.hour)
    await book_entries(connection, [entry], cut_off, batch_seq)
    await keep_write(
        connection,
        author,
        batch_seq=batch_seq,
        action="issue_credit_note",
        subject=head.number,
        detail={"invoice": invoice.number, "payable": credit.payable},
    )
    return IssuedCredit(
        credit_note_id=credit_note_id,
        number=head.number,
        invoice=invoice.number,
        net_total=credit.net,
        tax_total=credit.tax,
        payable=credit.payable,
        on_account=head.on_account,
        currency=head.currency,
    )


@dataclass(frozen=True, slots=True)
class _Seller:
    """Under which prefix and on which day of its zone an entity issues now."""

    invoice_prefix: str
    now: datetime
    today: date
    hour: datetime
    is_test: bool


async def _seller(connection: Connection, invoice: StoredInvoice, now: datetime) -> _Seller:
    entity = await parties.find_entity(connection, invoice.entity_id)
    customer = await parties.find_customer(connection, invoice.customer_id)
    assert entity is not None, "who issued an invoice is there"
    assert customer is not None, "whom it was issued to as well"
    return _Seller(
        invoice_prefix=entity.invoice_prefix,
        now=now,
        today=now.astimezone(zone(entity.zone)).date(),
        hour=hour_start(now, entity.zone),
        is_test=entity.is_test or customer.is_test,
    )


async def _head(
    connection: Connection, crediting: _Crediting, seller: _Seller, reason: str
) -> CreditHead:
    invoice = crediting.invoice
    currency = invoice.terms.currency
    beyond = EXACT.subtract(crediting.credit.payable, await _open_of(connection, invoice))
    year = seller.today.year
    number = await take_numbers(
        connection, entity_id=invoice.entity_id, kind=Series.CREDIT_NOTE, year=year
    )
    return CreditHead(
        invoice_id=invoice.invoice_id,
        entity_id=invoice.entity_id,
        customer_id=invoice.customer_id,
        number=numbered(seller.invoice_prefix, Series.CREDIT_NOTE, year, number),
        currency=currency,
        on_account=max(round_minor(ZERO, currency), beyond),
        issued_at=seller.now,
        reason=reason,
        voids=crediting.void,
    )


async def _open_of(connection: Connection, invoice: StoredInvoice) -> Decimal:
    items = await store.list_open_items(
        connection, entity_id=invoice.entity_id, customer_id=invoice.customer_id
    )
    return next((item.open for item in items if item.invoice_id == invoice.invoice_id), ZERO)


def _entry(head: CreditHead, crediting: _Crediting, booked_for: datetime) -> JournalEntry:
    who, on_account, currency = head.customer_id, head.on_account, head.currency
    if crediting.void:
        postings = invoice_voided(
            who,
            crediting.invoice.totals,
            on_account=on_account,
            currencies=Currencies(currency, crediting.invoice.terms.priced_in),
            deferred=deferred_of(crediting.lines, crediting.invoice.prices),
        )
    else:
        postings = credit_issued(who, crediting.credit, on_account=on_account, currency=currency)
    return JournalEntry(
        entity_id=head.entity_id,
        kind="credit_note",
        natural_key=f"credit_note:{head.entity_id}:{head.number}",
        booked_for=booked_for,
        description=f"Credit note {head.number}",
        postings=postings,
        customer_id=head.customer_id,
    )
