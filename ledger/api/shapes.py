"""The shapes of what flows return, for the API and for the command line alike."""

from dataclasses import fields

from ledger.api.answer import to_cursor
from ledger.documents.invoice import describe
from ledger.documents.invoice_json import (
    exchange_json,
    issued_line_json,
    line_json,
    tax_json,
    totals_json,
)
from ledger.documents.words import words_of
from ledger.domain.billing.issued import IssuedLine
from ledger.domain.money import EXACT, round_minor
from ledger.flows.billing.draft_invoice import InvoiceDraft
from ledger.flows.billing.invoice import pending_adjustments
from ledger.flows.billing.issue import lacking_signs
from ledger.flows.billing.run import InvoiceRun
from ledger.flows.billing.trace import LineTrace
from ledger.flows.metering.conflicts import Shown
from ledger.store.billing.draft import find_line_prices
from ledger.store.metering.conflicts import ConflictState
from ledger.store.queries import Connection


def show_draft(draft: InvoiceDraft) -> dict[str, object]:
    """A draft: period, totals, lines, what waits for a price and what no font shows."""
    return {
        "subscription_id": draft.subscription.subscription_id,
        "customer_id": draft.subscription.customer_id,
        "period_start": draft.period.start,
        "period_end": draft.period.end,
        "run_no": draft.run_no,
        "cut_off_id": draft.cut_off.cut_off_id,
        "currency": draft.currency,
        "priced_in": draft.agreement.terms.priced_in,
        **totals_json(draft.totals),
        "credit": round_minor(draft.credit, draft.currency),
        "left_to_pay": EXACT.subtract(draft.totals.payable, draft.credit),
        "taxes": [tax_json(line) for line in draft.taxes],
        "uncosted": draft.uncosted.wrong if draft.uncosted else None,
        "exchange": exchange_json(draft.exchange),
        "unconverted": draft.unconverted.wrong if draft.unconverted else None,
        "untaxed": draft.untaxed.wrong if draft.untaxed else None,
        "incomplete": draft.incomplete.wrong if draft.incomplete else None,
        "unusual": draft.unusual,
        "rounding": draft.totals.rounding,
        "lines": [line_json(line) for line in described(draft)],
        "unpriced": draft.unpriced,
        "usage": draft.marks,
        "without_font": [{"where": where, "sign": sign} for where, sign in lacking_signs(draft)],
    }


def run_json(done: InvoiceRun) -> dict[str, object]:
    """What came of a run of invoices."""
    return {
        "entity_id": done.entity_id,
        "issued": done.issued,
        "not_over": done.not_over,
        "totals": done.totals,
        "parked": [
            {
                "subscription_id": each.what.subject,
                "period_start": each.what.since,
                "period_end": each.what.until,
                "reason": each.what.reason,
                "failures": each.failures,
                "first_failed_at": each.first_failed_at,
            }
            for each in done.parked
        ],
    }


def described(draft: InvoiceDraft) -> list[IssuedLine]:
    """The lines of a draft in the words and language of its invoice."""
    return describe(draft.lines, draft.prices, words_of(draft.agreement.terms.language))


async def list_adjustments(
    connection: Connection, subscription_id: str
) -> list[tuple[IssuedLine, str]]:
    """What changed about invoiced periods since they were billed, each line with its currency."""
    lines = await pending_adjustments(connection, subscription_id=subscription_id)
    prices = await find_line_prices(connection, {line.key.price_id for line in lines})
    models = {price_id: price.price for price_id, price in prices.items()}
    return [(line, prices[line.key.price_id].currency) for line in describe(lines, models)]


def show_trace(trace: LineTrace) -> dict[str, object]:
    """A line with a page of the events behind it, and the cursor of the next page."""
    return {
        "currency": trace.invoice.terms.currency,
        "line": issued_line_json(trace.invoice, trace.line),
        "items": trace.events_json(),
        "next": to_cursor(*trace.after) if trace.after else None,
    }


def show_conflict(shown: Shown) -> dict[str, object]:
    """A conflict with what is stored and what was offered, as far as it is kept."""
    conflict = shown.conflict
    return {
        **{field.name: getattr(conflict, field.name) for field in fields(ConflictState)},
        "form": conflict.form,
        "truncated": conflict.truncated,
        "stored": shown.stored,
        "offered": shown.offered,
    }
