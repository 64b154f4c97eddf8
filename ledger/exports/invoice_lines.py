"""Lines of issued invoices as CSV, sorted by the invoice's time of issue, number and line_no."""

from collections.abc import Iterator

from ledger.exports.bundle import ExportBundle, ExportFormat
from ledger.exports.csv_text import Column, exact, named, write_table

COLUMNS: tuple[Column, ...] = (
    *named("number", "line_no", "customer_id", "kind", "service_start", "service_end"),
    *named("model", "tier", "adapter", "region", "context_band", "meter", "description"),
    *named("quantity"),
    ("unit_amount", lambda row: exact(row["unit_amount"])),
    *named("per", "currency", "exact_amount", "amount"),
)


def write(bundle: ExportBundle) -> Iterator[str]:
    """One line for each invoice line; `amount` is `exact_amount` rounded once."""
    rows = sorted(
        bundle.parts["invoice_lines"],
        key=lambda row: (row["issued_at"], row["number"], row["line_no"]),
    )
    return write_table(bundle, COLUMNS, rows)


FORMAT = ExportFormat("invoice_lines", "invoice_lines", "text/csv", ".csv", write)
