"""Postings as one canonical CSV, from which other systems' imports are mapped.

Sorted by entry_date in UTC, entry_id, line_no. `ledger_seq_from` and `_to` bound the stored batches
that the entry took in.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from ledger.domain.money import EXACT
from ledger.exports.bundle import ExportBundle, ExportFormat, Row
from ledger.exports.csv_text import Column, named, write_table

COLUMNS: tuple[Column, ...] = named(
    *("entry_id", "line_no", "entry_date", "period", "account_code", "account_name"),
    *("debit", "credit", "currency", "fx_rate", "base_debit", "base_credit"),
    *("customer_id", "sku", "tier", "model", "document_no", "description"),
    *("ledger_seq_from", "ledger_seq_to", "dimension"),
)


def sorted_postings(bundle: ExportBundle) -> Sequence[Row]:
    """Postings in the order of the journal."""
    return sorted(
        bundle.parts["journal"],
        key=lambda row: (row["booked_for"], row["natural_key"], row["revision"], row["line_no"]),
    )


def document_no(bundle: ExportBundle, row: Row) -> str:
    """The number of the invoice that an entry books, or nothing."""
    key: str = row["natural_key"]
    return key.removeprefix(f"invoice:{bundle.entity_id}:") if row["kind"] == "invoice" else ""


def write(bundle: ExportBundle) -> Iterator[str]:
    """One line for each posting."""
    postings = sorted_postings(bundle)
    cut_offs = {(row["natural_key"], row["revision"]): row["cut_off"] for row in postings}
    lines = [
        _line(bundle, row, cut_offs.get((row["natural_key"], row["revision"] - 1), 0))
        for row in postings
    ]
    return write_table(bundle, COLUMNS, lines)


def _line(bundle: ExportBundle, row: Row, booked_seq: int) -> dict[str, Any]:
    day = bundle.local_date(row["booked_for"])
    amount: Decimal = row["amount"]
    debit, credit = (amount, None) if amount > 0 else (None, EXACT.minus(amount))
    own = row["currency"] == bundle.currency
    return {
        "entry_id": f"{row['natural_key']}#{row['revision']}",
        "line_no": row["line_no"],
        "entry_date": day,
        "period": f"{day:%Y-%m}",
        "account_code": row["account"],
        "account_name": row["name"],
        "debit": debit,
        "credit": credit,
        "currency": row["currency"],
        "fx_rate": 1 if own else None,
        "base_debit": debit if own else None,
        "base_credit": credit if own else None,
        "customer_id": row["customer_id"],
        "sku": None,
        "tier": None,
        "model": None,
        "document_no": document_no(bundle, row),
        "description": row["description"],
        "ledger_seq_from": booked_seq + 1,
        "ledger_seq_to": row["cut_off"],
        "dimension": row["dimension"],
    }


FORMAT = ExportFormat("journal_lines", "journal", "text/csv", ".csv", write)
