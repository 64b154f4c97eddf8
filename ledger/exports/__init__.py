"""Files for finance: one format per file here, one line in EXPORT_FORMATS, one golden sample."""

from collections.abc import Mapping
from types import MappingProxyType

from ledger.exports import (
    beancount,
    costs,
    extras,
    hledger,
    invoice_lines,
    invoice_taxes,
    invoices,
    journal_lines,
    margins,
    site_costs,
    usage,
)
from ledger.exports.form import ExportFormat

EXPORT_FORMATS: Mapping[str, ExportFormat] = MappingProxyType(
    {
        each.name: each
        for each in (
            journal_lines.FORMAT,
            invoices.FORMAT,
            invoice_lines.FORMAT,
            invoice_taxes.FORMAT,
            usage.FORMAT,
            extras.FORMAT,
            costs.FORMAT,
            site_costs.FORMAT,
            margins.FORMAT,
            beancount.FORMAT,
            hledger.FORMAT,
        )
    }
)
