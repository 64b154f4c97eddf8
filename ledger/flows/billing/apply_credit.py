"""Lets grants pay an invoice as it is issued, for what they were drawn for; void, it is undone."""

from collections.abc import Sequence
from datetime import datetime

from ledger.domain.billing.agreement import Terms
from ledger.domain.billing.grant import Applied, ToPay, apply_draws
from ledger.domain.billing.invoice import InvoiceTotals
from ledger.domain.billing.issued import Invoice, StoredInvoice
from ledger.domain.books.booking import Currencies, credit_applied
from ledger.domain.books.journal import JournalEntry
from ledger.domain.exchange import Conversion
from ledger.domain.money import EXACT
from ledger.store.billing import grants as store
from ledger.store.billing.grants import DrawnOf
from ledger.store.books.journal import book_entries
from ledger.store.connect import CutOff
from ledger.store.queries import Connection


def applied_of(
    drawn: Sequence[DrawnOf],
    totals: InvoiceTotals,
    terms: Terms,
    conversion: Conversion | None,
) -> tuple[Applied, ...]:
    """What grants that were drawn for a subscription pay of its invoice."""
    if not drawn:
        return ()
    amounts = [(each.grant_id, each.amount) for each in drawn if each.currency == terms.priced_in]
    rounded = EXACT.add(totals.net, totals.included)
    asked = ToPay(totals.charged, rounded, totals.payable, conversion)
    return tuple(apply_draws(amounts, asked, currency=terms.currency, mode=terms.rounding))


async def keep_applied(
    connection: Connection,
    issued: Sequence[tuple[int, Invoice, Sequence[Applied]]],
    *,
    booked_for: datetime,
    cut_off: CutOff,
    batch_seq: int,
) -> None:
    """Store what grants pay of invoices, by their ids, and book it."""
    applied = [(invoice_id, each) for invoice_id, _, parts in issued for each in parts]
    if not applied:
        return
    await store.insert_applied(connection, applied, batch_seq=batch_seq)
    entries = [_entry(invoice, parts, booked_for) for _, invoice, parts in issued if parts]
    await book_entries(connection, entries, cut_off, batch_seq)


async def take_applied_back(
    connection: Connection,
    invoice: StoredInvoice,
    *,
    booked_for: datetime,
    cut_off: CutOff,
    batch_seq: int,
) -> None:
    """What grants paid of an invoice that is void waits for the next one of its period."""
    applied = await store.list_applied(connection, invoice_id=invoice.invoice_id)
    if not applied:
        return
    back = [
        (
            invoice.invoice_id,
            Applied(
                each.grant_id,
                EXACT.minus(each.charged_amount),
                EXACT.minus(each.exact_amount),
                EXACT.minus(each.amount),
            ),
        )
        for each in applied
    ]
    await store.insert_applied(connection, back, batch_seq=batch_seq, taken_back=True)
    await book_entries(connection, [_entry(invoice, (), booked_for)], cut_off, batch_seq)


def _entry(invoice: Invoice, applied: Sequence[Applied], booked_for: datetime) -> JournalEntry:
    return JournalEntry(
        entity_id=invoice.entity_id,
        kind="credit_applied",
        natural_key=f"credit_applied:{invoice.entity_id}:{invoice.number}",
        booked_for=booked_for,
        description=f"Grants pay of invoice {invoice.number}",
        postings=credit_applied(
            invoice.customer_id,
            applied,
            Currencies(invoice.terms.currency, invoice.terms.priced_in),
            gives_back=invoice.totals.gives_back,
        ),
        customer_id=invoice.customer_id,
    )
