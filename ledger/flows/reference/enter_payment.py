"""Records what customers pay, get back, or have on account: against the invoices that are open."""

from dataclasses import astuple
from decimal import Decimal

from ledger.domain.author import Author
from ledger.domain.billing.receivable import OpenItem, Settlement, oldest_first, settle_items
from ledger.domain.books.booking import paid
from ledger.domain.books.journal import JournalEntry
from ledger.domain.errors import ConflictError, InvalidInputError, NotFoundError
from ledger.domain.money import EXACT, ZERO, check_currency, minor_digits, plain, scale_of
from ledger.domain.period import midnight
from ledger.flows.reference.closed_months import check_open
from ledger.flows.reference.supersede import keep_write, writing
from ledger.store import parties
from ledger.store.billing import receivables as store
from ledger.store.billing.receivables import Payment
from ledger.store.books.journal import book_entries
from ledger.store.connect import draw_batch_seq, draw_cut_off
from ledger.store.queries import Connection
from ledger.wire.receivable_inputs import NewPayment


async def enter_payment(connection: Connection, new: NewPayment, author: Author) -> str:
    """Record a payment and book it; returns its id. The same again writes nothing.

    It pays the invoice it names, and beyond that or without one the oldest that are open; what is
    left is on the customer's account. ConflictError where the id has other content, or more is
    paid back or taken from the account than is there.
    """
    payment = Payment(**new.model_dump())
    _check_amount(payment)
    async with writing(connection):
        await _check_customer(connection, payment)
        await store.lock_receivables(connection, payment.entity_id)
        known = await store.find_payment(
            connection, entity_id=payment.entity_id, payment_id=payment.payment_id
        )
        if known is None:
            await check_open(connection, author, new.entity_id, new.paid_on, field="paid_on")
            await _record(connection, payment, author)
        elif known != payment:
            raise ConflictError(
                f"The payment {payment.payment_id} is already recorded with {_said(known)}.",
                "Use the id that the bank gave it; what is recorded stays.",
                "payment_id",
            )
    return payment.payment_id


async def _record(connection: Connection, payment: Payment, author: Author) -> None:
    items = await _items(connection, payment)
    settled, on_account = await _settled(connection, payment, items)
    cut_off = await draw_cut_off(connection, "payment")
    batch_seq = await draw_batch_seq(connection)
    await store.insert_payment(
        connection, payment, settled, on_account=on_account, batch_seq=batch_seq
    )
    entry = await _entry(connection, payment, on_account)
    await book_entries(connection, [entry], cut_off, batch_seq)
    await keep_write(
        connection,
        author,
        batch_seq=batch_seq,
        action="enter payment",
        subject=payment.payment_id,
        detail={"entity_id": payment.entity_id, "amount": payment.amount, "kind": payment.kind},
    )


async def _settled(
    connection: Connection, payment: Payment, items: list[OpenItem]
) -> tuple[Settlement, Decimal]:
    """What the payment pays, and how much more is on account then."""
    if payment.kind == "received":
        settled = settle_items(payment.amount, items)
        return settled, settled.rest
    held = await store.sum_on_account(
        connection, entity_id=payment.entity_id, customer_id=payment.customer_id
    )
    there = held.get((payment.customer_id, payment.currency), ZERO)
    if payment.amount > there:
        raise ConflictError(
            f"{payment.customer_id} has {plain(there)} {payment.currency} on account, not"
            f" {plain(payment.amount)}.",
            "Take at most what is there.",
            "amount",
        )
    if payment.kind == "refunded":
        return Settlement({}, ZERO), EXACT.minus(payment.amount)
    settled = settle_items(payment.amount, items)
    if settled.rest:
        owed = EXACT.subtract(payment.amount, settled.rest)
        raise ConflictError(
            f"{payment.customer_id} owes {plain(owed)} {payment.currency}, not"
            f" {plain(payment.amount)}.",
            "Take at most what is owed.",
            "amount",
        )
    return settled, EXACT.minus(payment.amount)


async def _items(connection: Connection, payment: Payment) -> list[OpenItem]:
    """The open invoices in the order in which they are paid, the one that is named first."""
    items = await store.list_open_items(
        connection,
        entity_id=payment.entity_id,
        customer_id=payment.customer_id,
        currency=payment.currency,
    )
    ordered = oldest_first(item for item in items if item.open > 0)
    if not payment.invoice:
        return ordered
    named = [item for item in ordered if item.number == payment.invoice]
    if not named:
        raise NotFoundError(
            f"{payment.customer_id} owes nothing of an invoice {payment.invoice} in"
            f" {payment.currency}.",
            "Name one that is open (`tokenledger report receivables`), or none.",
            "invoice",
        )
    return named + [item for item in ordered if item.number != payment.invoice]


async def _entry(connection: Connection, payment: Payment, on_account: Decimal) -> JournalEntry:
    entity = await parties.find_entity(connection, payment.entity_id)
    assert entity is not None, "the customer is of that entity"
    cash = {"received": payment.amount, "refunded": EXACT.minus(payment.amount)}
    return JournalEntry(
        entity_id=payment.entity_id,
        kind="payment",
        natural_key=f"payment:{payment.entity_id}:{payment.payment_id}",
        booked_for=midnight(payment.paid_on, entity.zone),
        description=f"Payment {payment.payment_id}",
        postings=paid(
            payment.customer_id,
            cash=cash.get(payment.kind, ZERO),
            on_account=on_account,
            currency=payment.currency,
        ),
        customer_id=payment.customer_id,
    )


def _check_amount(payment: Payment) -> None:
    check_currency(payment.currency)
    if scale_of(payment.amount) > minor_digits(payment.currency):
        raise InvalidInputError(
            f"{plain(payment.amount)} {payment.currency} is finer than its minor unit.",
            "Send what the bank says.",
            "amount",
        )
    if payment.kind == "refunded" and payment.invoice:
        raise InvalidInputError("A refund pays no invoice.", "Leave invoice out.", "invoice")


async def _check_customer(connection: Connection, payment: Payment) -> None:
    customer = await parties.find_customer(connection, payment.customer_id)
    if customer is None or customer.entity_id != payment.entity_id:
        raise NotFoundError(
            f"There is no customer {payment.customer_id} of entity {payment.entity_id}.",
            "Look them up with `tokenledger list customers`.",
            "customer_id",
        )


def _said(payment: Payment) -> str:
    _, _, *said = astuple(payment)
    return ", ".join(
        plain(each) if isinstance(each, Decimal) else str(each) for each in said if each
    )
