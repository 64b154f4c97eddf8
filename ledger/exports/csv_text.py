"""Turns rows into CSV: UTF-8 without BOM, `\\r\\n`, plain decimals, no cell a spreadsheet runs.

A text that starts like a formula, behind what nobody sees, gets a leading apostrophe (CWE-1236);
numbers never do.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any, TypeAlias

from ledger.domain.money import EXACT, minor_digits, plain
from ledger.exports.form import ExportFormat, ExportScope
from ledger.wire.rfc3339 import format_rfc3339

# What no request of a line said, where 0 would say that nothing was.
UNKNOWN = "unknown"
# A spreadsheet of a language with wide letters takes wide signs for the plain ones.
FORMULA_STARTS = (*"=+-@＝＋－＠", "\t", "\r", "\n", "\0")  # noqa: RUF001
_UNSEEN = " \xa0\u3000\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
Value: TypeAlias = str | int | Decimal | datetime | date | None
# What a column is called, and how it is read of a row.
Column: TypeAlias = tuple[str, Callable[[Any], Value]]


class Digits(str):
    """Text that is a number, and may begin with a minus."""

    __slots__ = ()


def guard(text: str) -> str:
    """The text, with an apostrophe before it where a spreadsheet would take it for a formula."""
    is_formula = text.lstrip(_UNSEEN).startswith(FORMULA_STARTS)
    return f"'{text}" if is_formula else text


def named(*names: str) -> tuple[Column, ...]:
    """Columns that are called as the row calls them."""
    return tuple((name, attrgetter(name)) for name in names)


def exact(value: Decimal) -> Digits:
    """All digits of a decimal, without trailing zeros or an exponent."""
    return Digits(plain(value.normalize(EXACT)))


def money(value: Decimal, currency: str) -> str:
    """All digits of an amount, and at least those of the currency's minor unit."""
    whole, _, fraction = exact(value).partition(".")
    digits = fraction.ljust(minor_digits(currency), "0")
    return f"{whole}.{digits}" if digits else whole


def table(name: str, part: str, columns: Callable[[ExportScope], Sequence[Column]]) -> ExportFormat:
    """A format of a header line and one line for each row, in the order they come."""

    def head(scope: ExportScope) -> Iterator[str]:
        yield write_lines([[name for name, _ in columns(scope)]])

    def lines(scope: ExportScope, rows: Iterable[object]) -> Iterator[str]:
        chosen = columns(scope)
        yield write_lines(
            [_cell(read(row), row, raw=scope.raw) for _, read in chosen] for row in rows
        )

    return ExportFormat(name, part, "text/csv", ".csv", head, lines)


def write_lines(cells: Iterable[Sequence[Any]]) -> str:
    """Lines of cells as they are."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerows(cells)
    return buffer.getvalue()


def _cell(value: Value, row: Any, *, raw: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return money(value, row.currency)
    if isinstance(value, datetime):
        return format_rfc3339(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int):
        return str(value)
    return value if raw or isinstance(value, Digits) else guard(value)
