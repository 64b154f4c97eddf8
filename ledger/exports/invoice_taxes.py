"""Tax of issued invoices as CSV, a line a rate, sorted by the invoice's time of issue and number.

`base` is without the tax; `category` is the code of UNCL 5305 that electronic invoices write.
"""

from datetime import date

from ledger.domain.billing.tax import CATEGORIES, Treatment
from ledger.domain.books.exported import ExportedTax
from ledger.exports.csv_text import Column, Digits, exact, named, table
from ledger.exports.form import ExportScope


def columns(scope: ExportScope) -> tuple[Column, ...]:
    """One line for each rate of an invoice."""

    def issued_on(tax: ExportedTax) -> date:
        return scope.local_date(tax.issued_at)

    return (
        *named("number"),
        ("issued_on", issued_on),
        *named("line_no", "customer_id", "customer_tax_number", "seller_tax_number", "country"),
        *named("treatment"),
        ("category", _category),
        ("percent", _percent),
        ("included", _included),
        *named("reason", "currency", "base", "amount"),
    )


def _category(tax: ExportedTax) -> str:
    return CATEGORIES[Treatment(tax.treatment)]


def _percent(tax: ExportedTax) -> Digits:
    return exact(tax.percent)


def _included(tax: ExportedTax) -> str:
    return "yes" if tax.included else "no"


FORMAT = table("invoice_taxes", "invoice_taxes", columns)
