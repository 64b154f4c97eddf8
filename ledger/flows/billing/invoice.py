"""Turns a billing period's charges into an invoice that never changes, or shows what it would be.

Late usage does not touch an issued invoice: it is a pending adjustment, and a line of the next.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256

from ledger.documents.fonts import find_lacking
from ledger.documents.forms import invoice_forms
from ledger.documents.invoice import describe, no_font_for, printed_parties
from ledger.documents.invoice_json import snapshot_json
from ledger.documents.words import words_of
from ledger.domain.author import Author
from ledger.domain.billing.draft import check_bounds
from ledger.domain.billing.invoice import InvoiceLine
from ledger.domain.billing.issued import Invoice, IssuedLine, Series, numbered
from ledger.domain.books.booking import invoice_issued
from ledger.domain.books.journal import JournalEntry
from ledger.domain.errors import (
    ConflictError,
    InvalidInputError,
    LedgerError,
    MissingInputError,
    NotFoundError,
)
from ledger.domain.period import hour_start, zone
from ledger.flows.billing.draft_invoice import (
    InvoiceDraft,
    Moment,
    draft_invoice,
    entity_of,
    find_adjustments,
)
from ledger.flows.books.book_revenue import book_revenue
from ledger.flows.pricing.rate import rate
from ledger.flows.reference.supersede import keep_write, writing
from ledger.store.billing import draft as billable
from ledger.store.billing import invoice as store
from ledger.store.billing.receivables import lock_receivables
from ledger.store.billing.tax import insert_tax_lines
from ledger.store.books.journal import book_entries
from ledger.store.connect import draw_batch_seq, draw_cut_off
from ledger.store.queries import Connection
from ledger.store.standing import list_parked


@dataclass(frozen=True, slots=True)
class IssueRules:
    """What issuing lets pass: usage that waits for a price, a period not over, a second run."""

    unpriced: bool = False
    open_period: bool = False
    supplementary: bool = False


NO_EXCEPTION = IssueRules()


@dataclass(frozen=True, slots=True)
class IssuedInvoice:
    """What came of issuing."""

    invoice_id: int
    number: str
    net_total: Decimal
    payable: Decimal
    currency: str


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
    return await draft_invoice(connection, subscription_id, moment, now=now)


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
    await book_revenue(connection, entity_id=entity_id, now=now)
    async with writing(connection):
        # Nothing is voided while it is drafted.
        await lock_receivables(connection, entity_id)
        draft = await draft_invoice(connection, subscription_id, moment, now=now)
        await _check_rated(connection, draft)
        _check_period(draft, now, allow)
        if not allow.unpriced:
            _check_priced(draft)
        if draft.untaxed is not None:
            raise draft.untaxed
        if draft.incomplete is not None:
            raise draft.incomplete
        lacking = lacking_signs(draft)
        if lacking:
            raise no_font_for(lacking)
        issued = await _issue(connection, draft, now, author)
        if seal is not None:
            await seal(issued)
        return issued


async def issue_all(
    connection: Connection,
    *,
    entity_id: str,
    moment: Moment,
    now: datetime,
    author: Author,
    allow: IssueRules = NO_EXCEPTION,
) -> list[IssuedInvoice]:
    """Issue the period's invoice of every subscription of an entity that has something to bill.

    Subscriptions billed already are left alone, so that a broken run can be run again. One that
    is refused stops no other: ConflictError names them after all others are issued.
    """
    issued, refused = [], []
    for subscription_id in await billable.list_subscriptions(connection, entity_id=entity_id):
        try:
            draft = await preview_invoice(
                connection, subscription_id=subscription_id, moment=moment, now=now
            )
            if not draft.lines or draft.is_billed:
                continue
            one = await issue_invoice(
                connection,
                subscription_id=subscription_id,
                moment=moment,
                now=now,
                author=author,
                allow=allow,
            )
            issued.append(one)
        except NotFoundError:
            continue  # not valid at the moment: nothing to bill then
        except LedgerError as error:
            refused.append(f"{subscription_id}: {error.wrong}")
    if refused:
        raise ConflictError(
            f"{len(issued)} invoices were issued and {len(refused)} refused: {' '.join(refused)}",
            "Mend those and run it again; what was issued is left alone.",
        )
    return issued


async def pending_adjustments(connection: Connection, *, subscription_id: str) -> list[InvoiceLine]:
    """What changed about invoiced periods since they were billed, as lines of the next invoice."""
    cut_off = await draw_cut_off(connection, "pending adjustments")
    agreements = await billable.find_agreements(
        connection,
        subscription_id=subscription_id,
        batch_seq=cut_off.batch_seq,
        at=cut_off.drawn_at,
    )
    if not agreements:
        raise NotFoundError(f"There is no subscription {subscription_id!r}.")
    return await find_adjustments(connection, agreements[-1], cut_off)


def lacking_signs(draft: InvoiceDraft) -> list[tuple[str, str]]:
    """(where, sign) of what the draft's document could not show: no font on this host has it."""
    agreement = draft.agreement
    parties = printed_parties(agreement.seller, agreement.buyer, agreement.customer_id)
    texts = {
        f"the {title} of the {role}": text
        for role, said in parties.items()
        for title, text in said.items()
    }
    texts |= {
        "the name of the rate card": agreement.terms.rate_card_name,
        "the number": agreement.invoice_prefix,
        "a line": " ".join(line.description for line in _described(draft)),
    }
    return list(find_lacking(texts))


def _described(draft: InvoiceDraft) -> list[IssuedLine]:
    words = words_of(draft.agreement.terms.language)
    return describe(draft.lines, draft.prices, words)


def _check_period(draft: InvoiceDraft, now: datetime, allow: IssueRules) -> None:
    if draft.is_billed and not (allow.supplementary and draft.lines):
        raise ConflictError(
            f"The period of {draft.subscription.subscription_id} from "
            f"{draft.period.start.isoformat()} is invoiced already.",
            "Ask for a supplementary invoice to bill what is new."
            if draft.lines
            else "Nothing is left to bill.",
        )
    if now < draft.period.end and not allow.open_period:
        raise ConflictError(
            f"The billing period ends at {draft.period.end.isoformat()}, which is not over.",
            "Wait for its end, or allow an open period.",
        )
    if not draft.lines:
        raise InvalidInputError(
            f"There is nothing to bill for {draft.subscription.subscription_id} from "
            f"{draft.period.start.isoformat()} to {draft.period.end.isoformat()}."
        )
    check_bounds(draft.lines, draft.currency)


async def _check_rated(connection: Connection, draft: InvoiceDraft) -> None:
    """Usage that rating failed at is in no line and in no list of what waits for a price."""
    found = await list_parked(
        connection,
        stage=rate.name,
        entity_id=draft.agreement.entity_id,
        since=draft.period.start,
        until=draft.period.end,
    )
    customer_id = draft.subscription.customer_id
    parked = [one for one in found if one.what.subject in ("", customer_id)]
    if parked:
        raise MissingInputError(
            f"Usage of {customer_id} in the period could not be rated: {parked[0].what.reason}.",
            "Mend that, and run `tokenledger rate` again.",
        )


def _check_priced(draft: InvoiceDraft) -> None:
    if draft.unpriced:
        waits = draft.unpriced[0]
        raise MissingInputError(
            f"{len(draft.unpriced)} kinds of usage of {draft.subscription.customer_id} have no"
            f" price; the first: {waits.reason} ({waits.quantity} tokens).",
            "Add the price to the rate card, or allow unpriced usage to wait.",
        )


async def _issue(
    connection: Connection, draft: InvoiceDraft, now: datetime, author: Author
) -> IssuedInvoice:
    agreement = draft.agreement
    issued_on = now.astimezone(zone(agreement.entity_zone)).date()
    batch_seq = await draw_batch_seq(connection)
    number = await _take_number(connection, draft, issued_on)
    invoice = _invoice(draft, number, now, issued_on)
    lines = _described(draft)
    invoice_id = await store.insert_invoice(
        connection, invoice, snapshot_json(invoice), batch_seq=batch_seq
    )
    await store.insert_lines(
        connection, invoice_id=invoice_id, customer_id=invoice.customer_id, lines=lines
    )
    await insert_tax_lines(
        connection, invoice_id=invoice_id, customer_id=invoice.customer_id, lines=invoice.taxes
    )
    forms = invoice_forms(
        invoice, lines, draft.tax_keys, issued_on=issued_on, is_test=agreement.is_test
    )
    for media_type, content in forms.items():
        await store.insert_document(
            connection,
            invoice_id=invoice_id,
            media_type=media_type,
            sha256=sha256(content).digest(),
            content=content,
        )
    entry = _entry(invoice, hour_start(now, agreement.entity_zone))
    await book_entries(connection, [entry], draft.cut_off, batch_seq)
    await keep_write(
        connection,
        author,
        batch_seq=batch_seq,
        action="issue_invoice",
        subject=number,
        detail={"subscription_id": invoice.subscription_id},
    )
    return IssuedInvoice(invoice_id, number, draft.totals.net, draft.totals.payable, draft.currency)


async def _take_number(connection: Connection, draft: InvoiceDraft, issued_on: date) -> str:
    series = Series.CREDIT_NOTE if draft.totals.gives_back else Series.INVOICE
    agreement, year = draft.agreement, issued_on.year
    number = await store.take_number(
        connection, entity_id=agreement.entity_id, kind=series, year=year
    )
    return numbered(agreement.invoice_prefix, series, year, number)


def _invoice(draft: InvoiceDraft, number: str, now: datetime, issued_on: date) -> Invoice:
    agreement = draft.agreement
    return Invoice(
        number=number,
        entity_id=agreement.entity_id,
        customer_id=agreement.customer_id,
        subscription_id=draft.subscription.subscription_id,
        period=draft.period,
        run_no=draft.run_no,
        seller=agreement.seller,
        buyer=agreement.buyer,
        terms=agreement.terms,
        totals=draft.totals,
        taxes=draft.taxes,
        prices=draft.prices,
        issued_at=now,
        due_on=issued_on + timedelta(days=agreement.terms.payment_days),
        event_cut_off=min(draft.period.end, now),
        cut_off_id=draft.cut_off.cut_off_id,
        cut_off_seq=draft.cut_off.batch_seq,
    )


def _entry(invoice: Invoice, booked_for: datetime) -> JournalEntry:
    return JournalEntry(
        entity_id=invoice.entity_id,
        kind="invoice",
        natural_key=f"invoice:{invoice.entity_id}:{invoice.number}",
        booked_for=booked_for,
        description=f"Invoice {invoice.number}",
        postings=invoice_issued(invoice.customer_id, invoice.totals, invoice.terms.currency),
        customer_id=invoice.customer_id,
    )
