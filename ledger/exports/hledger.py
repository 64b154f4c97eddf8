"""The journal as text that hledger and ledger both read; amounts have one scale.

Checked by `hledger check --strict ordereddates` and `ledger --pedantic`. Sorted as journal_lines.
"""

from collections.abc import Iterable, Iterator

from ledger.domain.books.exported import JournalLine
from ledger.exports.beancount import SCALE, fixed
from ledger.exports.form import ExportFormat, ExportScope
from ledger.exports.journal_lines import corrected_day


def head(scope: ExportScope) -> Iterator[str]:
    """Commodities and accounts declared."""
    # The one form of a commodity that both programs take.
    for currency in sorted({*scope.journal.currencies, scope.currency}):
        yield f"commodity {currency}\n    format 1,000.{'0' * SCALE} {currency}\n"
    for name in scope.journal.accounts:
        yield f"account {name}\n"


def lines(scope: ExportScope, rows: Iterable[JournalLine]) -> Iterator[str]:
    """One transaction for each entry, whose postings follow one another from 1."""
    for row in rows:
        if row.line_no == 1:
            day = scope.local_date(row.booked_for).isoformat()
            key = f"{row.natural_key} revision {row.revision}"
            corrected = corrected_day(scope, row)
            said = f"  ; corrects: {corrected.isoformat()}" if corrected else ""
            yield f"\n{day} * {_flat(row.description)} | {_flat(key)}{said}\n"
        yield f"    {row.name}    {fixed(row)}\n"


def _flat(text: str) -> str:
    # A semicolon would begin a comment, two spaces an amount.
    return " ".join(text.replace(";", ",").replace("|", "/").split())


FORMAT = ExportFormat("hledger", "journal", "text/plain", ".journal", head, lines)
