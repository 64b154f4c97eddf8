"""The shapes of what flows return, for the API and for the command line alike."""

from dataclasses import fields
from typing import Any

import asyncpg

from ledger.domain.billing.invoice import InvoiceLine
from ledger.flows.billing.draft_invoice import InvoiceDraft
from ledger.flows.billing.invoice import lacking_signs, pending_adjustments
from ledger.flows.metering.conflicts import Shown
from ledger.store.pricing.rating import find_price_currencies
from ledger.store.queries import Connection

# What is of the books and of nobody who reads an invoice.
_HIDDEN = frozenset({"snapshot", "batch_seq", "cut_off_seq"})


def show_invoice(row: asyncpg.Record) -> dict[str, Any]:
    """An invoice that went out."""
    return {name: value for name, value in row.items() if name not in _HIDDEN}


def show_draft(draft: InvoiceDraft) -> dict[str, Any]:
    """A draft: period, totals, lines, what waits for a price and what no font shows."""
    return {
        "subscription_id": draft.subscription.subscription_id,
        "customer_id": draft.subscription.customer_id,
        "period_start": draft.period.start,
        "period_end": draft.period.end,
        "run_no": draft.run_no,
        "cut_off_id": draft.cut_off.cut_off_id,
        "currency": draft.currency,
        "exact_total": draft.totals.exact,
        "net_total": draft.totals.net,
        "tax_total": draft.totals.tax,
        "payable": draft.totals.payable,
        "rounding": draft.totals.rounding,
        "lines": [_line(line) for line in draft.lines],
        "unpriced": draft.unpriced,
        "usage": draft.marks,
        "without_font": [{"where": where, "sign": sign} for where, sign in lacking_signs(draft)],
    }


async def list_adjustments(connection: Connection, subscription_id: str) -> list[dict[str, Any]]:
    """What changed about invoiced periods since they were billed, each line with its currency."""
    lines = await pending_adjustments(connection, subscription_id=subscription_id)
    currencies = await find_price_currencies(
        connection, price_ids={line.key.price_id for line in lines}
    )
    return [{**_line(line), "currency": currencies[line.key.price_id]} for line in lines]


def show_conflict(shown: Shown) -> dict[str, Any]:
    """A conflict with what is stored and what was offered, as far as it is kept."""
    said = {name: value for name, value in shown.conflict.items() if name != "source_id"}
    return {**said, "stored": shown.stored, "offered": shown.offered}


def _line(line: InvoiceLine) -> dict[str, Any]:
    key = {each.name: getattr(line.key, each.name) for each in fields(line.key)}
    return {
        "kind": line.kind,
        **key,
        "quantity": line.quantity,
        "exact_amount": line.exact_amount,
        "amount": line.amount,
    }
