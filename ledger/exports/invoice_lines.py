"""Lines of issued invoices as CSV, sorted by the invoice's time of issue, number and line_no.

`amount` is `exact_amount` rounded once.
"""

from ledger.exports.csv_text import Column, exact, named, table

COLUMNS: tuple[Column, ...] = (
    *named("number", "line_no", "customer_id", "kind", "service_start", "service_end"),
    *named("model", "tier", "adapter", "region", "context_band", "meter", "description"),
    *named("quantity"),
    ("unit_amount", lambda row: exact(row["unit_amount"])),
    *named("per", "currency", "exact_amount", "amount"),
)

FORMAT = table("invoice_lines", "invoice_lines", lambda _: COLUMNS)
