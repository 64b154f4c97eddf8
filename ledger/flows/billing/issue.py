"""Issues drafts of one entity: numbers without gaps, lines, tax and journal, in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from ledger.documents.fonts import find_lacking
from ledger.documents.invoice import describe, no_font_for, printed_parties
from ledger.documents.invoice_json import snapshot_json
from ledger.documents.words import words_of
from ledger.domain.author import Author
from ledger.domain.billing.advance import deferred_of
from ledger.domain.billing.draft import check_bounds
from ledger.domain.billing.issued import Invoice, IssuedLine, Series, numbered
from ledger.domain.books.booking import Currencies, invoice_issued
from ledger.domain.books.journal import JournalEntry
from ledger.domain.errors import ConflictError, InvalidInputError, MissingInputError
from ledger.domain.parked import Parked
from ledger.domain.period import describe_days, hour_start, zone
from ledger.flows.billing.apply_credit import keep_applied
from ledger.flows.billing.draft_invoice import InvoiceDraft
from ledger.flows.pricing.rate import rate
from ledger.flows.reference.supersede import keep_write
from ledger.store.billing import invoice as store
from ledger.store.billing.tax import insert_tax_lines
from ledger.store.books.journal import add_to_entries
from ledger.store.books.months import find_closed_until
from ledger.store.connect import draw_batch_seq
from ledger.store.queries import Connection
from ledger.store.standing import end_parked, list_parked


@dataclass(frozen=True, slots=True)
class IssueRules:
    """What issuing lets pass: usage that waits for a price, a period not over, a second run."""

    unpriced: bool = False
    open_period: bool = False
    supplementary: bool = False


NO_EXCEPTION = IssueRules()
# Under which name what could not be invoiced is parked, by subscription.
PARKED_AS = "invoice"


@dataclass(frozen=True, slots=True)
class IssuedInvoice:
    """What came of issuing."""

    invoice_id: int
    number: str
    net_total: Decimal
    payable: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class Ready:
    """A draft that may be issued, and its lines in words."""

    draft: InvoiceDraft
    lines: Sequence[IssuedLine]


@dataclass(frozen=True, slots=True)
class HeldBy:
    """What of an entity holds invoices back: usage that was not rated, and until when the books are
    closed, where nobody says a reason."""

    unrated: Sequence[Parked]
    closed_until: datetime | None


async def find_held_by(connection: Connection, entity_id: str, author: Author) -> HeldBy:
    """What holds invoices of an entity back now."""
    unrated = await list_unrated(connection, entity_id)
    closed = None if author.stated else await find_closed_until(connection, entity_id)
    return HeldBy(unrated, closed)


async def list_unrated(connection: Connection, entity_id: str) -> list[Parked]:
    """Usage of an entity that rating failed at: it is in no line and in no list of what waits."""
    return await list_parked(connection, stage=rate.name, entity_id=entity_id)


def make_ready(draft: InvoiceDraft, *, now: datetime, allow: IssueRules, held: HeldBy) -> Ready:
    """The draft with its lines in words; a LedgerError says why it cannot be issued."""
    _check_rated(draft, held.unrated)
    _check_period(draft, now, allow)
    _check_month(draft, held.closed_until)
    if not allow.unpriced:
        _check_priced(draft)
    if draft.uncosted is not None and not allow.open_period:
        raise draft.uncosted
    if draft.unconverted is not None:
        raise draft.unconverted
    if draft.untaxed is not None:
        raise draft.untaxed
    if draft.incomplete is not None:
        raise draft.incomplete
    lacking = lacking_signs(draft)
    if lacking:
        raise no_font_for(lacking)
    return Ready(draft, _described(draft))


def lacking_signs(draft: InvoiceDraft) -> list[tuple[str, str]]:
    """(where, sign) of what the draft's document could not show: no font on this host has it."""
    return list(find_lacking(_texts(draft)))


async def issue_ready(
    connection: Connection, ready: Sequence[Ready], *, now: datetime, author: Author
) -> list[IssuedInvoice]:
    """Issue drafts of one entity and cut-off, in the transaction of the connection."""
    first = ready[0].draft
    issued_on = now.astimezone(zone(first.agreement.entity_zone)).date()
    batch_seq = await draw_batch_seq(connection)
    numbers = await _take_numbers(connection, ready, issued_on)
    invoices = [
        _invoice(each.draft, number, now, issued_on)
        for each, number in zip(ready, numbers, strict=True)
    ]
    ids = await store.insert_invoices(
        connection, invoices, [snapshot_json(each) for each in invoices], batch_seq=batch_seq
    )
    issued = list(zip(ids, invoices, (each.lines for each in ready), strict=True))
    await store.insert_lines(
        connection, [(n, each.customer_id, lines) for n, each, lines in issued]
    )
    await insert_tax_lines(connection, [(n, each.customer_id, each.taxes) for n, each, _ in issued])
    hour = hour_start(now, first.agreement.entity_zone)
    entries = [_entry(each, lines, hour) for _, each, lines in issued]
    # Their numbers are new, so nothing is booked of them yet.
    await add_to_entries(connection, entries, first.cut_off, batch_seq)
    await keep_applied(
        connection,
        [(n, paid, each.draft.applied) for (n, paid, _), each in zip(issued, ready, strict=True)],
        booked_for=hour,
        cut_off=first.cut_off,
        batch_seq=batch_seq,
    )
    await _keep_write(connection, author, invoices, batch_seq)
    await end_parked(
        connection,
        stage=PARKED_AS,
        entity_id=first.agreement.entity_id,
        periods=[(each.subscription_id, each.period) for each in invoices],
    )
    return [
        IssuedInvoice(n, each.number, each.totals.net, each.totals.payable, each.terms.currency)
        for n, each, _ in issued
    ]


async def _keep_write(
    connection: Connection, author: Author, invoices: Sequence[Invoice], batch_seq: int
) -> None:
    """Who issued, once for all that went out together."""
    first, last = invoices[0], invoices[-1]
    if first is last:
        action, subject = "issue_invoice", first.number
        detail: dict[str, object] = {"subscription_id": first.subscription_id}
    else:
        action, subject = "issue_invoices", f"{first.number} to {last.number}"
        detail = {"entity_id": first.entity_id, "invoices": len(invoices)}
    await keep_write(
        connection, author, batch_seq=batch_seq, action=action, subject=subject, detail=detail
    )


async def _take_numbers(
    connection: Connection, ready: Sequence[Ready], issued_on: date
) -> list[str]:
    agreement, year = ready[0].draft.agreement, issued_on.year
    series = [
        Series.CREDIT_NOTE if each.draft.totals.gives_back else Series.INVOICE for each in ready
    ]
    following: dict[Series, int] = {}
    for each in sorted(set(series)):
        following[each] = await store.take_numbers(
            connection,
            entity_id=agreement.entity_id,
            kind=each,
            year=year,
            numbers=series.count(each),
        )
    numbers = []
    for each in series:
        numbers.append(numbered(agreement.invoice_prefix, each, year, following[each]))
        following[each] += 1
    return numbers


def _texts(draft: InvoiceDraft) -> Mapping[str, str]:
    """What the draft's document would print, by where it stands."""
    agreement = draft.agreement
    parties = printed_parties(agreement.seller, agreement.buyer, agreement.customer_id)
    texts = {
        f"the {title} of the {role}": text
        for role, said in parties.items()
        for title, text in said.items()
    }
    return texts | {
        "the name of the rate card": agreement.terms.rate_card_name,
        "the number": agreement.invoice_prefix,
    }


def _described(draft: InvoiceDraft) -> list[IssuedLine]:
    """The lines in words; of names that events gave a sign that no font has is written as its code,
    so that what one request is called stops no invoice."""
    lines = describe(draft.lines, draft.prices, words_of(draft.agreement.terms.language))
    while sign := _lacking_in(lines):
        code = sign.encode("unicode_escape").decode()
        lines = [replace(line, description=line.description.replace(sign, code)) for line in lines]
    return lines


def _lacking_in(lines: Sequence[IssuedLine]) -> str | None:
    """A sign in the words of lines that no font has."""
    said = " ".join(dict.fromkeys(line.description for line in lines))
    sign = next((lacking for _, lacking in find_lacking({"a line": said})), None)
    if sign is not None and sign not in said:
        raise no_font_for([("a line", sign)])
    return sign


def _check_rated(draft: InvoiceDraft, unrated: Sequence[Parked]) -> None:
    customer_id, period = draft.subscription.customer_id, draft.period
    for parked in unrated:
        what = parked.what
        if what.subject in ("", customer_id) and what.touches(period):
            raise MissingInputError(
                f"Usage of {customer_id} in the period could not be rated: {what.reason}.",
                "Mend that, and run `tokenledger rate` again.",
            )


def _check_period(draft: InvoiceDraft, now: datetime, allow: IssueRules) -> None:
    name, zone_name = draft.subscription.subscription_id, draft.subscription.zone
    days = f"{describe_days(draft.period, zone_name)} ({zone_name})"
    if draft.is_billed and not (allow.supplementary and draft.lines):
        raise ConflictError(
            f"The period of {name}, {days}, is invoiced already.",
            "Ask for a supplementary invoice to bill what is new."
            if draft.lines
            else "Nothing is left to bill.",
        )
    if now < draft.period.end and not allow.open_period:
        raise ConflictError(
            f"The billing period of {name}, {days}, is not over.",
            "Wait for its end, or allow an open period.",
        )
    if not draft.lines:
        raise InvalidInputError(f"There is nothing to bill for {name}, {days}.")
    check_bounds(draft.lines, draft.currency)


def _check_month(draft: InvoiceDraft, closed: datetime | None) -> None:
    end = draft.period.end
    if closed is not None and end <= closed and not draft.is_billed:
        raise ConflictError(
            f"The books are closed until {closed.isoformat()}, and the period of"
            f" {draft.subscription.subscription_id} ended {end.isoformat()}.",
            "Issue it with a reason, which is kept with it, or open its month again.",
            "reason",
        )


def _check_priced(draft: InvoiceDraft) -> None:
    if draft.unpriced:
        waits = draft.unpriced[0]
        raise MissingInputError(
            f"{len(draft.unpriced)} kinds of usage of {draft.subscription.customer_id} have no"
            f" price; the first: {waits.reason} ({waits.quantity} tokens).",
            "Add the price to the rate card, or allow unpriced usage to wait.",
        )


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
        credit=draft.credit,
        exchange=draft.exchange,
    )


def _entry(invoice: Invoice, lines: Sequence[IssuedLine], booked_for: datetime) -> JournalEntry:
    deferred = deferred_of(lines, invoice.prices)
    currencies = Currencies(invoice.terms.currency, invoice.terms.priced_in)
    return JournalEntry(
        entity_id=invoice.entity_id,
        kind="invoice",
        natural_key=f"invoice:{invoice.entity_id}:{invoice.number}",
        booked_for=booked_for,
        description=f"Invoice {invoice.number}",
        postings=invoice_issued(invoice.customer_id, invoice.totals, currencies, deferred),
        customer_id=invoice.customer_id,
    )
