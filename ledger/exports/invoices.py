"""Issued invoices as CSV, sorted by time of issue and number."""

from collections.abc import Iterator

from ledger.domain.money import EXACT
from ledger.exports.bundle import ExportBundle, ExportFormat
from ledger.exports.csv_text import Column, named, write_table


def write(bundle: ExportBundle) -> Iterator[str]:
    """One line for each invoice; `rounding` is what the rounding account took."""
    columns: tuple[Column, ...] = (
        *named("number"),
        ("issued_on", lambda row: bundle.local_date(row["issued_at"])),
        *named("due_on", "customer_id", "customer_name", "subscription_id"),
        *named("period_start", "period_end", "run_no", "currency", "exact_total"),
        ("rounding", lambda row: EXACT.subtract(row["exact_total"], row["net_total"])),
        *named("net_total", "tax_total", "payable", "event_cut_off", "ledger_seq_to", "pdf_sha256"),
    )
    rows = sorted(bundle.parts["invoices"], key=lambda row: (row["issued_at"], row["number"]))
    return write_table(bundle, columns, rows)


FORMAT = ExportFormat("invoices", "invoices", "text/csv", ".csv", write)
