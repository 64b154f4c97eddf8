"""The binary stream of PostgreSQL's COPY as columns, for rows that are all of one width.

https://www.postgresql.org/docs/18/sql-copy.html (binary format).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ledger.domain.errors import LedgerError
from ledger.store.binary import EPOCH_US, HEADER, TRAILER

INT2, INT4, INT8, TIME = ">i2", ">i4", ">i8", "time"
BITS_900 = "(113,)u1"
# A moment that PostgreSQL writes as -infinity: what a query gives where it has none.
NEVER = np.iinfo(np.int64).min
_WIDTHS = {INT2: 2, INT4: 4, INT8: 8, TIME: 8, BITS_900: 117}
# An array's dimensions, whether any is null, type, length and first index; then each element with
# its length in octets.
_INT8_BYTES, _ARRAY_HEAD = 8, 20
_ELEMENT = np.dtype([("octets", ">i4"), ("value", INT8)])
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


def read_arrays(
    stream: bytes, layout: Mapping[str, str], arrays: Sequence[str]
) -> dict[str, NDArray[np.int64]]:
    """Columns by name, a row an element: of rows that have these fields and behind them arrays of
    `bigint`, of one length in a row, whose elements lie side by side."""
    width = _record(layout).itemsize
    heads: list[bytes] = []
    sizes: list[int] = []
    elements: dict[str, list[NDArray[np.void]]] = {name: [] for name in arrays}
    at, end = len(HEADER), len(stream) - len(TRAILER)
    while at < end:
        heads.append(stream[at : at + width])
        at += width
        lengths = set()
        for name in arrays:
            length = int.from_bytes(stream[at : at + 4], "big")
            size = max(length - _ARRAY_HEAD, 0) // _ELEMENT.itemsize
            if size:
                values = np.frombuffer(stream, _ELEMENT, size, at + 4 + _ARRAY_HEAD)
                elements[name].append(values)
            lengths.add(size)
            at += 4 + length
        if len(lengths) != 1:
            raise UnevenRowsError("Arrays of a row are not of one length.", "Is an element NULL?")
        sizes += lengths
    of_rows = read_columns(HEADER + b"".join(heads) + stream[end:], layout)
    columns = {name: np.repeat(of_rows[name], sizes) for name in layout}
    return columns | {name: _values(parts) for name, parts in elements.items()}


def _values(elements: Sequence[NDArray[np.void]]) -> NDArray[np.int64]:
    if not elements:
        return np.empty(0, np.int64)
    joined = np.concatenate(elements)
    if (joined["octets"] != _INT8_BYTES).any():
        raise UnevenRowsError("An element is not of 64 bits.", "Is it NULL?")
    values: NDArray[np.int64] = joined["value"].astype(np.int64)
    return values


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
