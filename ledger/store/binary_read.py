"""The binary stream of PostgreSQL's COPY as columns, for rows that are all of one width.

https://www.postgresql.org/docs/18/sql-copy.html (binary format).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ledger.domain.errors import LedgerError
from ledger.domain.ingest.octets import Ints
from ledger.store.binary import EPOCH_US, HEADER, TRAILER

INT2, INT8, TIME = ">i2", ">i8", "time"
BITS_900 = "(113,)u1"
# A moment that PostgreSQL writes as -infinity: what a query gives where it has none.
NEVER = np.iinfo(np.int64).min
_WIDTHS = {INT2: 2, INT8: 8, TIME: 8, BITS_900: 117}

# Before an array's elements: its length, dimensions, flags, type, number of them, lowest index.
_ARRAY_HEAD, _COUNT_AT = 24, 16
_ELEMENT = np.dtype([("size", ">i4"), ("value", ">i8")])
_NONE = np.empty(0, np.int64)


class UnevenRowsError(LedgerError):
    """A COPY gave rows that are not of the width its columns have."""

    title = "Uneven rows"


def read_columns(stream: bytes, layout: Mapping[str, str]) -> dict[str, Any]:
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
    for name, kind in layout.items():
        if (rows[f"n_{name}"] != _WIDTHS[kind]).any():
            raise UnevenRowsError(f"{name} is not of one width.", "Is it NULL somewhere?")
    return {name: _column(rows[f"v_{name}"], kind) for name, kind in layout.items()}


def read_spans(stream: bytes) -> tuple[Ints, Ints, Ints]:
    """Of rows of a number and two arrays of times: number, first and second time of each element.

    UnevenRowsError where a value is NULL or one array is longer than the other.
    """
    keys: list[int] = []
    times: tuple[list[Ints], list[Ints]] = ([], [])
    at = len(HEADER)
    while stream[at : at + 2] != TRAILER:
        keys.append(int.from_bytes(stream[at + 6 : at + 14], "big", signed=True))
        at += 14
        for found in times:
            found.append(_array(stream, at))
            at += _ARRAY_HEAD + found[-1].size * _ELEMENT.itemsize
        if times[0][-1].size != times[1][-1].size:
            raise UnevenRowsError("Two arrays of a row are not of one length.")
    counts = [found.size for found in times[0]]
    firsts, seconds = (np.concatenate([*found, _NONE]) + EPOCH_US for found in times)
    return np.repeat(np.array(keys, np.int64), counts), firsts, seconds


def _array(stream: bytes, at: int) -> Ints:
    size = int.from_bytes(stream[at : at + 4], "big")
    count = int.from_bytes(stream[at + _COUNT_AT : at + _COUNT_AT + 4], "big")
    if size + 4 != _ARRAY_HEAD + count * _ELEMENT.itemsize:
        raise UnevenRowsError("An array is not of one width.", "Is an element NULL?")
    return np.frombuffer(stream, _ELEMENT, count, at + _ARRAY_HEAD)["value"].astype(np.int64)


def _record(layout: Mapping[str, str]) -> "np.dtype[np.void]":
    fields: list[tuple[str, str]] = [("fields", ">i2")]
    for name, kind in layout.items():
        fields.append((f"n_{name}", ">i4"))
        if kind == BITS_900:
            fields.append((f"b_{name}", ">i4"))
        fields.append((f"v_{name}", INT8 if kind == TIME else kind))
    return np.dtype(fields)


def _column(values: NDArray[np.generic], kind: str) -> Any:
    if kind == BITS_900:
        return np.ascontiguousarray(values)
    native = values.astype(np.int64)
    if kind == TIME:
        native[native != NEVER] += EPOCH_US
    return native
