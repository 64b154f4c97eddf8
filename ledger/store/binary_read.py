"""The binary stream of PostgreSQL's COPY as columns, for rows that are all of one width.

https://www.postgresql.org/docs/18/sql-copy.html (binary format).
"""

from collections.abc import Mapping
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
