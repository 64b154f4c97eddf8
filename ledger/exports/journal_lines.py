"""Postings as one canonical CSV, from which other systems' imports are mapped.

Sorted by entry_date in UTC, entry_id, line_no. `ledger_seq_from` and `_to` bound the stored batches
that the entry took in; `corrects` is the day of a closed month that it belongs to.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from ledger.domain.books.exported import JournalLine
from ledger.domain.money import EXACT
from ledger.exports.csv_text import Column, named, table
from ledger.exports.form import ExportScope


class _Line(NamedTuple):
    """What a line says, in the order of its columns."""

    entry_id: str
    line_no: int
    entry_date: date
    period: str
    account_code: str
    account_name: str
    debit: Decimal | None
    credit: Decimal | None
    currency: str
    fx_rate: int | None
    base_debit: Decimal | None
    base_credit: Decimal | None
    customer_id: str | None
    sku: None
    tier: str | None
    model: str | None
    document_no: str
    description: str
    ledger_seq_from: int
    ledger_seq_to: int
    dimension: str
    corrects: date | None


COLUMNS: tuple[Column, ...] = named(*_Line._fields)


def document_no(scope: ExportScope, row: JournalLine) -> str:
    """The number of the invoice that an entry books, or nothing."""
    number = row.natural_key.removeprefix(f"invoice:{scope.entity_id}:")
    return number if row.kind == "invoice" else ""


def corrected_day(scope: ExportScope, row: JournalLine) -> date | None:
    """The day of a closed month that an entry corrects, or None."""
    return None if row.corrects is None else scope.local_date(row.corrects)


def _line(scope: ExportScope, row: JournalLine) -> _Line:
    day = scope.local_date(row.booked_for)
    amount = row.amount
    debit, credit = (amount, None) if amount > 0 else (None, EXACT.minus(amount))
    own = row.currency == scope.currency
    return _Line(
        entry_id=f"{row.natural_key}#{row.revision}",
        line_no=row.line_no,
        entry_date=day,
        period=f"{day:%Y-%m}",
        account_code=row.account,
        account_name=row.name,
        debit=debit,
        credit=credit,
        currency=row.currency,
        fx_rate=1 if own else None,
        base_debit=debit if own else None,
        base_credit=credit if own else None,
        customer_id=row.customer_id,
        sku=None,
        tier=row.tier or None,
        model=row.model or None,
        document_no=document_no(scope, row),
        description=row.description,
        ledger_seq_from=row.booked_seq + 1,
        ledger_seq_to=row.cut_off,
        dimension=row.dimension,
        corrects=corrected_day(scope, row),
    )


_TABLE = table("journal_lines", "journal", lambda _: COLUMNS)


def lines(scope: ExportScope, rows: Iterable[JournalLine]) -> Iterator[str]:
    """One line for each posting."""
    return _TABLE.lines(scope, (_line(scope, row) for row in rows))


FORMAT = replace(_TABLE, lines=lines)
