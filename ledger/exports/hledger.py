"""The journal as text that hledger and ledger both read; amounts have one scale.

Checked by `hledger check --strict ordereddates` and `ledger --pedantic`. Sorted as journal_lines.
"""

from collections.abc import Iterator
from itertools import groupby

from ledger.exports.beancount import SCALE, fixed
from ledger.exports.bundle import ExportBundle, ExportFormat, Row
from ledger.exports.journal_lines import sorted_postings


def write(bundle: ExportBundle) -> Iterator[str]:
    """Commodities and accounts declared, then one transaction for each entry."""
    postings = sorted_postings(bundle)
    # The one form of a commodity that both programs take.
    for currency in sorted({row["currency"] for row in postings} | {bundle.currency}):
        yield f"commodity {currency}\n    format 1,000.{'0' * SCALE} {currency}\n"
    for name in sorted({row["name"] for row in postings}):
        yield f"account {name}\n"
    for _, rows in groupby(postings, key=lambda row: (row["natural_key"], row["revision"])):
        yield from _transaction(bundle, list(rows))


def _transaction(bundle: ExportBundle, rows: list[Row]) -> Iterator[str]:
    head = rows[0]
    day = bundle.local_date(head["booked_for"]).isoformat()
    key = f"{head['natural_key']} revision {head['revision']}"
    yield f"\n{day} * {_flat(head['description'])} | {_flat(key)}\n"
    for row in rows:
        yield f"    {row['name']}    {fixed(row)}\n"


def _flat(text: str) -> str:
    # A semicolon would begin a comment, two spaces an amount.
    return " ".join(text.replace(";", ",").replace("|", "/").split())


FORMAT = ExportFormat("hledger", "journal", "text/plain", ".journal", write)
