"""Tax of issued invoices as CSV, a line a rate, sorted by the invoice's time of issue and number.

`base` is without the tax; `category` is the code of UNCL 5305 that electronic invoices write.
"""

from ledger.domain.billing.tax import CATEGORIES, Treatment
from ledger.exports.csv_text import Column, exact, named, table
from ledger.exports.form import ExportScope


def columns(scope: ExportScope) -> tuple[Column, ...]:
    """One line for each rate of an invoice."""
    return (
        *named("number"),
        ("issued_on", lambda row: scope.local_date(row["issued_at"])),
        *named("line_no", "customer_id", "customer_tax_number", "seller_tax_number", "country"),
        *named("treatment"),
        ("category", lambda row: CATEGORIES[Treatment(row["treatment"])]),
        ("percent", lambda row: exact(row["percent"])),
        ("included", lambda row: "yes" if row["included"] else "no"),
        *named("reason", "currency", "base", "amount"),
    )


FORMAT = table("invoice_taxes", "invoice_taxes", columns)
