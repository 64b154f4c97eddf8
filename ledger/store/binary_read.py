"""The binary stream of PostgreSQL's COPY as columns, for rows that are all of one width.

https://www.postgresql.org/docs/18/sql-copy.html (binary format).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ledger.domain.arrays import Ints, Octets
from ledger.domain.compiled import compiled, inlined
from ledger.domain.errors import LedgerError
from ledger.store.binary import EPOCH_US, HEADER, TRAILER

INT2, INT4, INT8, TIME = ">i2", ">i4", ">i8", "time"
BITS_900 = "(113,)u1"
# A moment that PostgreSQL writes as -infinity: what a query gives where it has none.
NEVER = np.iinfo(np.int64).min
_WIDTHS = {INT2: 2, INT4: 4, INT8: 8, TIME: 8, BITS_900: 117}
# An array's dimensions, whether any is null, type, length and first index; then each element with
# its length in octets.
_INT8_BYTES, _ARRAY_HEAD, _ELEMENT_BYTES = 8, 20, 12
# So many rows stay in the cache of a core while each of their columns is taken from them.
_STEP_ROWS = 1_024


class UnevenRowsError(LedgerError):
    """A COPY gave rows that are not of the width its columns have."""

    title = "Uneven rows"


def read_columns(stream: bytes, layout: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """Columns by name: whole numbers, and times as microseconds since 1970 or NEVER.

    Bits come as octets, 113 a row.
    """
    record = _record(layout)
    size = len(stream) - len(HEADER) - len(TRAILER)
    if size % record.itemsize or not stream.endswith(TRAILER):
        raise UnevenRowsError(
            f"{size:,} bytes are not whole rows of {record.itemsize}.", "Is a column NULL?"
        )
    rows = np.frombuffer(stream, record, size // record.itemsize, len(HEADER))
    columns = {name: _empty_column(kind, rows.size) for name, kind in layout.items()}
    for at in range(0, rows.size, _STEP_ROWS):
        step = rows[at : at + _STEP_ROWS]
        for name, kind in layout.items():
            if (step[f"n_{name}"] != _WIDTHS[kind]).any():
                raise UnevenRowsError(f"{name} is not of one width.", "Is it NULL somewhere?")
            column = columns[name][at : at + step.size]
            column[...] = step[f"v_{name}"]
            if kind == TIME:
                np.add(column, EPOCH_US, out=column, where=column != NEVER)
    return columns


def read_arrays(stream: bytes, layout: Mapping[str, str], arrays: Sequence[str]) -> dict[str, Ints]:
    """Columns by name, a row an element: of rows that have these fields and behind them arrays of
    `bigint`, of one length in a row, whose elements lie side by side."""
    width, end = _record(layout).itemsize, len(stream) - len(TRAILER)
    octets = np.frombuffer(stream, np.uint8)[len(HEADER) : end]
    rows, elements = _count(octets, width, len(arrays))
    heads, sizes = np.empty((max(rows, 0), width), np.uint8), np.empty(max(rows, 0), np.int64)
    values = np.empty((len(arrays), elements), np.int64)
    if rows < 0:
        raise UnevenRowsError("Arrays of a row are not of one length.", "Is an element NULL?")
    if not _take(octets, heads, sizes, values):
        raise UnevenRowsError("An element is not of 64 bits.", "Is it NULL?")
    of_rows = read_columns(HEADER + heads.tobytes() + stream[end:], layout)
    columns = {name: np.repeat(of_rows[name], sizes) for name in layout}
    return columns | dict(zip(arrays, values, strict=True))


@compiled
def _count(octets: Octets, width: int, arrays: int) -> tuple[int, int]:
    """How many rows there are, and elements of each array in all; -1 rows where they are uneven."""
    at, rows, elements = 0, 0, 0
    while at < octets.size:
        at += width
        first = -1
        for _ in range(arrays):
            if at + 4 > octets.size:
                return -1, 0
            length = _number(octets, at, 4)
            size = max(length - _ARRAY_HEAD, 0) // _ELEMENT_BYTES
            if length < 0 or first not in (-1, size):
                return -1, 0
            first = size
            at += 4 + length
        rows += 1
        elements += first
    return (rows, elements) if at == octets.size else (-1, 0)


@compiled
def _take(octets: Octets, heads: Octets, sizes: Ints, values: Ints) -> bool:
    """Fill what was counted; False where an element is not of eight octets."""
    at, filled = 0, 0
    for row in range(sizes.size):
        heads[row] = octets[at : at + heads.shape[1]]
        at += heads.shape[1]
        for which in range(values.shape[0]):
            length = _number(octets, at, 4)
            sizes[row] = max(length - _ARRAY_HEAD, 0) // _ELEMENT_BYTES
            for n in range(sizes[row]):
                element = at + 4 + _ARRAY_HEAD + n * _ELEMENT_BYTES
                if _number(octets, element, 4) != _INT8_BYTES:
                    return False
                values[which, filled + n] = _number(octets, element + 4, _INT8_BYTES)
            at += 4 + length
        filled += sizes[row]
    return True


@inlined
def _number(octets: Octets, at: int, size: int) -> int:
    """A number with its sign, the highest octet first."""
    number = np.int64(octets[at]) - ((np.int64(octets[at]) & 0x80) << 1)
    for n in range(1, size):
        number = (number << 8) | np.int64(octets[at + n])
    return int(number)


def _empty_column(kind: str, rows: int) -> NDArray[Any]:
    return np.empty((rows, 113), np.uint8) if kind == BITS_900 else np.empty(rows, np.int64)


def _record(layout: Mapping[str, str]) -> "np.dtype[np.void]":
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    for name, kind in layout.items():
        fields.append((f"n_{name}", ">i4"))
        if kind == BITS_900:
            fields.append((f"b_{name}", ">i4"))
        fields.append((f"v_{name}", INT8 if kind == TIME else kind))
    return np.dtype(fields)
