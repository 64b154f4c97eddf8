"""Issued invoices as CSV, sorted by time of issue and number."""

from decimal import Decimal

from ledger.domain.money import EXACT
from ledger.exports.csv_text import Column, named, table
from ledger.exports.form import ExportScope, Row


def columns(scope: ExportScope) -> tuple[Column, ...]:
    """One line for each invoice; `rounding` is what the rounding account took."""
    return (
        *named("number"),
        ("issued_on", lambda row: scope.local_date(row["issued_at"])),
        *named("due_on", "customer_id", "customer_name", "subscription_id"),
        *named("period_start", "period_end", "run_no", "currency", "exact_total"),
        ("rounding", _rounding),
        *named("net_total", "tax_total", "tax_included", "payable", "event_cut_off"),
        *named("ledger_seq_to", "pdf_sha256"),
    )


def _rounding(row: Row) -> Decimal:
    lines = EXACT.add(row["net_total"], row["tax_included"])
    return EXACT.subtract(row["exact_total"], lines)


FORMAT = table("invoices", "invoices", columns)
