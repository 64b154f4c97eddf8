"""Turns a billing period's charges into an invoice that never changes, or shows what it would be.

Late usage does not touch an issued invoice: it is a pending adjustment, and a line of the next.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime

from ledger.domain.author import Author
from ledger.domain.billing.invoice import InvoiceLine
from ledger.domain.errors import LedgerError, NotFoundError
from ledger.flows.billing.draft_invoice import (
    InvoiceDraft,
    Moment,
    cut_off_with_charges,
    draft_invoices,
    entity_of,
    find_adjustments,
)
from ledger.flows.billing.draw import draw
from ledger.flows.billing.issue import (
    NO_EXCEPTION,
    IssuedInvoice,
    IssueRules,
    find_held_by,
    issue_ready,
    make_ready,
)
from ledger.flows.books.book_revenue import book_revenue
from ledger.flows.pricing.rate import rate
from ledger.flows.reference.supersede import writing
from ledger.store.billing import draft as billable
from ledger.store.billing.receivables import lock_receivables
from ledger.store.connect import draw_cut_off
from ledger.store.pricing.usage_days import sum_marks_of_subscription
from ledger.store.queries import Connection

Seal = Callable[[IssuedInvoice], Awaitable[None]]


async def preview_invoice(
    connection: Connection, *, subscription_id: str, moment: Moment, now: datetime
) -> InvoiceDraft:
    """The invoice of the billing period that holds `moment`, as of now; stores nothing of it.

    Usage due is rated first, as it would be anyway, so call it outside a transaction. NotFoundError
    where there is no such subscription.
    """
    entity_id = await entity_of(connection, subscription_id)
    await rate(connection, entity_id=entity_id, now=now)
    await draw(connection, entity_id=entity_id, now=now)
    draft = await _draft(connection, entity_id, subscription_id, moment, now)
    marks = await sum_marks_of_subscription(
        connection,
        subscription_id=subscription_id,
        customer_id=draft.agreement.customer_id,
        period=draft.period,
        batch_seq=draft.cut_off.batch_seq,
    )
    return replace(draft, marks=marks)


async def issue_invoice(
    connection: Connection,
    *,
    subscription_id: str,
    moment: Moment,
    now: datetime,
    author: Author,
    allow: IssueRules = NO_EXCEPTION,
    seal: Seal | None = None,
) -> IssuedInvoice:
    """Issue the invoice of the billing period that holds `moment`, in a transaction of its own,
    in which `seal` keeps what came of it for whoever asked.

    Usage due is rated and booked first, in others, so call it outside a transaction. ConflictError
    where it was issued already (a supplementary run bills what is new since), or the period is not
    over; MissingInputError names usage that waits for a price; UnavailableError where a batch older
    than its charges stays open.
    """
    entity_id = await entity_of(connection, subscription_id)
    await rate(connection, entity_id=entity_id, now=now)
    await draw(connection, entity_id=entity_id, now=now)
    await book_revenue(connection, entity_id=entity_id, now=now)
    async with writing(connection):
        # Nothing is voided while it is drafted.
        await lock_receivables(connection, entity_id)
        draft = await _draft(connection, entity_id, subscription_id, moment, now)
        held = await find_held_by(connection, entity_id, author)
        ready = make_ready(draft, now=now, allow=allow, held=held)
        (issued,) = await issue_ready(connection, [ready], now=now, author=author)
        if seal is not None:
            await seal(issued)
        return issued


async def pending_adjustments(connection: Connection, *, subscription_id: str) -> list[InvoiceLine]:
    """What changed about invoiced periods since they were billed, as lines of the next invoice."""
    cut_off = await draw_cut_off(connection, "pending adjustments")
    agreements = await billable.find_agreements(
        connection,
        subscription_ids=[subscription_id],
        batch_seq=cut_off.batch_seq,
        at=cut_off.drawn_at,
    )
    if subscription_id not in agreements:
        raise NotFoundError(f"There is no subscription {subscription_id!r}.")
    return await find_adjustments(connection, agreements[subscription_id][-1], cut_off)


async def _draft(
    connection: Connection, entity_id: str, subscription_id: str, moment: Moment, now: datetime
) -> InvoiceDraft:
    cut_off = await cut_off_with_charges(connection, entity_id)
    drafts = await draft_invoices(
        connection, [subscription_id], moment, entity_id=entity_id, cut_off=cut_off, now=now
    )
    draft = drafts[subscription_id]
    if isinstance(draft, LedgerError):
        raise draft
    return draft
