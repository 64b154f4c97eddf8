"""Issued invoices as CSV, sorted by time of issue and number."""

from datetime import date
from decimal import Decimal

from ledger.domain.books.exported import ExportedInvoice
from ledger.domain.money import EXACT
from ledger.exports.csv_text import Column, named, table
from ledger.exports.form import ExportScope


def columns(scope: ExportScope) -> tuple[Column, ...]:
    """One line for each invoice; `rounding` is what the rounding account took, and
    `charged_total` what it was in the currency of its prices."""

    def issued_on(invoice: ExportedInvoice) -> date:
        return scope.local_date(invoice.issued_at)

    return (
        *named("number"),
        ("issued_on", issued_on),
        *named("due_on", "customer_id", "customer_name", "subscription_id"),
        *named("period_start", "period_end", "run_no", "currency", "exact_total"),
        ("rounding", _rounding),
        *named("net_total", "tax_total", "tax_included", "payable", "event_cut_off"),
        *named("ledger_seq_to", "pdf_sha256", "priced_in", "charged_total"),
    )


def _rounding(invoice: ExportedInvoice) -> Decimal:
    lines = EXACT.add(invoice.net_total, invoice.tax_included)
    return EXACT.subtract(invoice.exact_total, lines)


FORMAT = table("invoices", "invoices", columns)
