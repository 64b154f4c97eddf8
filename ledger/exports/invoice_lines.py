"""Lines of issued invoices as CSV, sorted by the invoice's time of issue, number and line_no.

`amount` is `exact_amount` rounded once; `unit_amount` and `charged_amount` are in the currency of
prices.
"""

from ledger.domain.books.exported import ExportedLine
from ledger.exports.csv_text import Column, Digits, exact, named, table


def _unit_amount(line: ExportedLine) -> Digits:
    return exact(line.unit_amount)


COLUMNS: tuple[Column, ...] = (
    *named("number", "line_no", "customer_id", "kind", "service_start", "service_end"),
    *named("model", "tier", "adapter", "region", "context_band", "meter", "used_by"),
    *named("description", "quantity"),
    ("unit_amount", _unit_amount),
    *named("per", "currency", "exact_amount", "amount", "priced_in", "charged_amount"),
)

FORMAT = table("invoice_lines", "invoice_lines", lambda _: COLUMNS)
