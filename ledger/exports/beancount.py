"""The journal as Beancount text; amounts have one scale, so that a wrong last digit is refused.

Checked by `bean-check`. Sorted as journal_lines; the natural key and revision are metadata.
"""

from collections.abc import Iterator
from itertools import groupby

from ledger.domain.money import plain
from ledger.exports.bundle import ExportBundle, ExportFormat, Row
from ledger.exports.journal_lines import document_no, sorted_postings

SCALE = 12


def fixed(row: Row) -> str:
    """The amount with twelve decimals and its currency."""
    whole, _, fraction = plain(row["amount"]).partition(".")
    return f"{whole}.{fraction[:SCALE].ljust(SCALE, '0')} {row['currency']}"


def quoted(text: str) -> str:
    """A string literal on one line."""
    flat = " ".join(text.split())
    return '"' + flat.replace("\\", "\\\\").replace('"', '\\"') + '"'


def write(bundle: ExportBundle) -> Iterator[str]:
    """Options, accounts from the first day used, then one transaction for each entry."""
    postings = sorted_postings(bundle)
    yield f'option "title" {quoted(bundle.entity_name)}\n'
    yield f'option "operating_currency" "{bundle.currency}"\n\n'
    if postings:
        first = bundle.local_date(postings[0]["booked_for"])
        for name in sorted({row["name"] for row in postings}):
            yield f"{first.isoformat()} open {name}\n"
    for _, rows in groupby(postings, key=lambda row: (row["natural_key"], row["revision"])):
        yield from _transaction(bundle, list(rows))


def _transaction(bundle: ExportBundle, rows: list[Row]) -> Iterator[str]:
    head = rows[0]
    number = document_no(bundle, head)
    day = bundle.local_date(head["booked_for"]).isoformat()
    yield f"\n{day} * {quoted(head['description'])}\n"
    yield f"  entry: {quoted(head['natural_key'])}\n"
    yield f"  revision: {head['revision']}\n"
    if number:
        yield f"  document: {quoted(number)}\n"
    for row in rows:
        yield f"  {row['name']}  {fixed(row)}\n"
        if row["customer_id"]:
            yield f"    customer: {quoted(row['customer_id'])}\n"
        if row["dimension"]:
            yield f"    dimension: {quoted(row['dimension'])}\n"


FORMAT = ExportFormat("beancount", "journal", "text/plain", ".beancount", write)
