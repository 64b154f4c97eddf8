"""Revenue beside cost by customer, tier, model and agent as CSV, before and after idle.

Sorted by those four. A percentage without revenue is empty, never 0 or 100.
"""

from decimal import Decimal

from ledger.domain.books.exported import ExportedMargin
from ledger.domain.cost.margin import Margin
from ledger.domain.money import plain
from ledger.exports.csv_text import Column, Digits, named, table
from ledger.exports.form import ExportScope


def columns(scope: ExportScope) -> tuple[Column, ...]:
    """One line for each group; `idle_share` is what the named policy gives it."""
    return (
        ("period_start", lambda _: scope.since),
        ("period_end", lambda _: scope.until),
        *named("customer", "tier", "model", "agent"),
        *named("input_tokens", "input_cache_read", "output_tokens", "unpriced_tokens"),
        *named("energy_mj", "currency", "revenue", "electricity", "gpu_cost"),
        *named("cost_before_idle", "idle_share", "cost"),
        ("gross_margin_before_idle_pct", _before_idle_pct),
        ("gross_margin_pct", lambda row: _text(_margin(row).gross_margin_pct)),
        ("markup_pct", lambda row: _text(_margin(row).markup_pct)),
    )


def _before_idle_pct(row: ExportedMargin) -> Digits | None:
    return _text(Margin(row.revenue, row.cost_before_idle, "").gross_margin_pct)


def _margin(row: ExportedMargin) -> Margin:
    return Margin(row.revenue, row.cost, "")


def _text(value: Decimal | None) -> Digits | None:
    return None if value is None else Digits(plain(value))


FORMAT = table("margins", "margins", columns)
