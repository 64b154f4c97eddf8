"""Issued invoices as CSV, sorted by time of issue and number."""

from ledger.domain.money import EXACT
from ledger.exports.csv_text import Column, named, table
from ledger.exports.form import ExportScope


def columns(scope: ExportScope) -> tuple[Column, ...]:
    """One line for each invoice; `rounding` is what the rounding account took."""
    return (
        *named("number"),
        ("issued_on", lambda row: scope.local_date(row["issued_at"])),
        *named("due_on", "customer_id", "customer_name", "subscription_id"),
        *named("period_start", "period_end", "run_no", "currency", "exact_total"),
        ("rounding", lambda row: EXACT.subtract(row["exact_total"], row["net_total"])),
        *named("net_total", "tax_total", "payable", "event_cut_off", "ledger_seq_to", "pdf_sha256"),
    )


FORMAT = table("invoices", "invoices", columns)
