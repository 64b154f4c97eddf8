"""Numbers that tell rows apart by several columns at once, without a hash of their texts."""

from collections.abc import Iterable

import numpy as np

from ledger.domain.ingest.octets import Ints

# Up to here a table of all numbers costs less than sorting those that are there.
_TABLE_MAX = 1 << 18


def combined(columns: Iterable[tuple[Ints, int]], rows: int) -> tuple[Ints, int]:
    """Numbers from 0 without holes, the same where all columns are, and how many there are.

    Each column's values lie from 0 to below the bound beside it.
    """
    codes, bound = np.zeros(rows, np.int64), 1
    for values, size in columns:
        if bound * size > _TABLE_MAX:
            codes, bound = _dense(codes, bound)
        codes = codes * size + values
        bound *= size
    return _dense(codes, bound)


def first_rows(codes: Ints, count: int) -> Ints:
    """The first row of each number."""
    found = np.empty(count, np.int64)
    found[codes[::-1]] = np.arange(codes.size - 1, -1, -1)
    return found


def first_rows_of(codes: Ints) -> tuple[Ints, Ints]:
    """The first row of each number that is there, and the rows' numbers without holes."""
    dense, count = _dense(codes, int(codes.max(initial=-1)) + 1)
    return first_rows(dense, count), dense


def _dense(codes: Ints, bound: int) -> tuple[Ints, int]:
    if bound > _TABLE_MAX:
        there, places = np.unique(codes, return_inverse=True)
        return places, there.size
    seen = np.zeros(bound, np.int64)
    seen[codes] = 1
    numbers = np.cumsum(seen)
    return numbers[codes] - 1, int(seen.sum())
