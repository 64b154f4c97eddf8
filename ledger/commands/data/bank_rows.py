"""Rows of a bank's CSV with days and amounts as they are entered, however the bank writes them."""

import re
from collections.abc import Mapping
from dataclasses import replace

from ledger.commands.data.rows import InputRow
from ledger.domain.errors import InvalidInputError
from ledger.wire.errors import shorten

# With dots the day always stands first.
_DOTTED = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})", re.ASCII)
_COMMA = re.compile(r"[+-]?(?:\d{1,3}(?:\.\d{3})+|\d+)(?:,\d+)?", re.ASCII)


def entered(row: InputRow, columns: Mapping[str, str], *, decimal_comma: bool) -> InputRow:
    """A row with its day and amount as fields hold them; InvalidInputError names the line."""
    cells = dict(row.cells)
    day, amount = (columns.get(name, name) for name in ("booked_on", "amount"))
    dotted = _DOTTED.fullmatch(str(cells.get(day, "")))
    if dotted is not None:
        cells[day] = f"{dotted[3]}-{dotted[2]:0>2}-{dotted[1]:0>2}"
    if decimal_comma and amount in cells:
        cells[amount] = _plain(row.line, str(cells[amount]))
    return replace(row, cells=cells)


def _plain(line: int, text: str) -> str:
    if not _COMMA.fullmatch(text):
        raise InvalidInputError(
            f"Line {line}: amount {shorten(text)} is no number with a decimal comma.",
            "Mend the row, or leave out --decimal-comma.",
        )
    return text.replace(".", "").replace(",", ".")
