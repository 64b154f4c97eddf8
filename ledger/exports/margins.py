"""Revenue beside cost by customer, tier, model and agent as CSV, before and after idle.

Sorted by those four. A percentage without revenue is empty, never 0 or 100; a count that no request
of a line said is `unknown`.
"""

from collections.abc import Callable
from decimal import Decimal
from operator import attrgetter

from ledger.domain.books.exported import ExportedMargin
from ledger.domain.cost.margin import Margin
from ledger.domain.money import plain
from ledger.exports.csv_text import UNKNOWN, Column, Digits, Value, named, table
from ledger.exports.form import ExportScope


def columns(scope: ExportScope) -> tuple[Column, ...]:
    """One line for each group; `idle_share` and `site_share` are what the named policies give."""
    return (
        ("period_start", lambda _: scope.since),
        ("period_end", lambda _: scope.until),
        *named("customer", "tier", "model", "agent"),
        *((name, _count(name)) for name in ("input_tokens", "input_cache_read", "output_tokens")),
        *named("unpriced_tokens", "energy_mj", "currency", "revenue", "electricity", "gpu_cost"),
        *named("cost_before_idle", "idle_share", "site_share", "cost"),
        ("gross_margin_before_idle_pct", _before_idle_pct),
        ("gross_margin_pct", lambda row: _text(_margin(row).gross_margin_pct)),
        ("markup_pct", lambda row: _text(_margin(row).markup_pct)),
    )


def _count(name: str) -> Callable[[ExportedMargin], Value]:
    count_of = attrgetter(name)

    def read(row: ExportedMargin) -> Value:
        count: int | None = count_of(row)
        return UNKNOWN if count is None else count

    return read


def _before_idle_pct(row: ExportedMargin) -> Digits | None:
    return _text(Margin(row.revenue, row.cost_before_idle, "").gross_margin_pct)


def _margin(row: ExportedMargin) -> Margin:
    return Margin(row.revenue, row.cost, "")


def _text(value: Decimal | None) -> Digits | None:
    return None if value is None else Digits(plain(value))


FORMAT = table("margins", "margins", columns)
