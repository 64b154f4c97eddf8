"""The journal as Beancount text; amounts have one scale, so that a wrong last digit is refused.

Checked by `bean-check`. Sorted as journal_lines; the natural key and revision are metadata.
"""

from collections.abc import Iterable, Iterator

from ledger.domain.books.exported import JournalLine
from ledger.domain.money import plain
from ledger.exports.form import ExportFormat, ExportScope
from ledger.exports.journal_lines import corrected_day, document_no

SCALE = 12


def fixed(row: JournalLine) -> str:
    """The amount with twelve decimals and its currency."""
    whole, _, fraction = plain(row.amount).partition(".")
    return f"{whole}.{fraction[:SCALE].ljust(SCALE, '0')} {row.currency}"


def quoted(text: str) -> str:
    """A string literal on one line."""
    flat = " ".join(text.split())
    return '"' + flat.replace("\\", "\\\\").replace('"', '\\"') + '"'


def head(scope: ExportScope) -> Iterator[str]:
    """Options, and accounts from the first day used."""
    yield f'option "title" {quoted(scope.entity_name)}\n'
    yield f'option "operating_currency" "{scope.currency}"\n\n'
    if scope.journal.first is not None:
        first = scope.local_date(scope.journal.first)
        for name in scope.journal.accounts:
            yield f"{first.isoformat()} open {name}\n"


def lines(scope: ExportScope, rows: Iterable[JournalLine]) -> Iterator[str]:
    """One transaction for each entry, whose postings follow one another from 1."""
    for row in rows:
        if row.line_no == 1:
            yield from _begin(scope, row)
        yield f"  {row.name}  {fixed(row)}\n"
        if row.customer_id:
            yield f"    customer: {quoted(row.customer_id)}\n"
        if row.dimension:
            yield f"    dimension: {quoted(row.dimension)}\n"


def _begin(scope: ExportScope, row: JournalLine) -> Iterator[str]:
    number = document_no(scope, row)
    day = scope.local_date(row.booked_for).isoformat()
    yield f"\n{day} * {quoted(row.description)}\n"
    yield f"  entry: {quoted(row.natural_key)}\n"
    yield f"  revision: {row.revision}\n"
    if number:
        yield f"  document: {quoted(number)}\n"
    corrected = corrected_day(scope, row)
    if corrected is not None:
        yield f"  corrects: {corrected.isoformat()}\n"


FORMAT = ExportFormat("beancount", "journal", "text/plain", ".beancount", head, lines)
