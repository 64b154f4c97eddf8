"""Numbers that tell rows apart by several columns at once, without a hash of their texts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ledger.domain.arrays import Ints, Words
from ledger.domain.frames import MANY_ROWS

# From here on a search for values in no order costs more than to put them in order first: each
# would go through memory of its own.
_SEARCH_MANY = 4_096
# From here on polars puts numbers in order in half the time; below it plans longer than it sorts.
_ORDER_MANY = 16_384
# Up to here a table of all numbers costs less than sorting those that are there.
_TABLE_MAX = 1 << 18
_CODE_MAX = 1 << 62


def combined(columns: Iterable[tuple[Ints, int]], rows: int) -> tuple[Ints, int]:
    """Numbers from 0 without holes, the same where all columns are, and how many there are.

    Each column's values lie from 0 to below the bound beside it.
    """
    codes, bound = np.zeros(rows, np.int64), 1
    for values, size in columns:
        if size == 1:
            continue
        # What is past all tables is sorted once, behind the last column.
        if bound * size > (_TABLE_MAX if bound <= _TABLE_MAX else _CODE_MAX):
            codes, bound = _dense(codes, bound)
        codes = codes * size + values
        bound *= size
    return _dense(codes, bound)


def numbered(frame: pl.DataFrame) -> tuple[Ints, int]:
    """Numbers of rows from 0, the same where all columns of texts are, and how many there are."""
    if frame.height < MANY_ROWS:
        numbers: dict[tuple[object, ...], int] = {}
        codes = [numbers.setdefault(row, len(numbers)) for row in frame.rows()]
        return np.array(codes, np.int64), len(numbers)
    return combined(map(_told_apart, frame), frame.height)


def _told_apart(texts: pl.Series) -> tuple[Ints, int]:
    # Categories of its own, as those that others know would leave holes.
    own = pl.Categorical(pl.Categories.random())
    there = texts.cast(own).to_physical().cast(pl.Int64)
    return (there + 1).fill_null(0).to_numpy(), len(texts) + 1


def first_rows(codes: Ints, count: int) -> Ints:
    """The first row of each number."""
    first = np.empty(count, np.int64)
    first[codes[::-1]] = np.arange(codes.size - 1, -1, -1)
    return first


def first_rows_of(codes: Ints) -> tuple[Ints, Ints]:
    """The first row of each number that is there, and the rows' numbers without holes."""
    dense, count = _dense(codes, int(codes.max(initial=-1)) + 1)
    return first_rows(dense, count), dense


def ranked(values: Ints) -> tuple[Ints, int]:
    """Which place each value has among those there are, from 0, and how many places there are."""
    if values.size < _ORDER_MANY:
        there, ranks = np.unique(values, return_inverse=True)
        return ranks, there.size
    ranks = pl.Series(values).rank("dense").to_numpy().astype(np.int64)
    ranks -= 1
    return ranks, int(ranks.max()) + 1


def _order(values: Ints | Words) -> Ints:
    """The rows in the order of their values."""
    if values.size < _ORDER_MANY:
        return np.argsort(values)
    order: Ints = pl.Series(values).arg_sort().to_numpy()
    return order


def searched(ordered: Ints | Words, values: Ints | Words) -> Ints:
    """Where each value stands among `ordered` ones, or would stand."""
    if values.size < _SEARCH_MANY:
        return np.searchsorted(ordered, values)
    order = _order(values)
    at = np.empty(values.size, np.int64)
    at[order] = np.searchsorted(ordered, values[order])
    return at


@dataclass(frozen=True, slots=True)
class Grouped:
    """Rows side by side whose keys are the same; each group begins at a place of `order`."""

    order: Ints
    begins: Ints

    @property
    def leads(self) -> Ints:
        """The first row of each group."""
        return self.order[self.begins]

    def sums(self, values: Ints) -> Ints:
        """The sum of each group."""
        sums: Ints = np.add.reduceat(values[self.order], self.begins)
        return sums


def grouped(keys: Sequence[Ints]) -> Grouped:
    """Groups in the order of their keys, the first key first; rows of a group stay in order."""
    order = np.lexsort(keys[::-1])
    begins = np.ones(order.size, np.bool_)
    if order.size:
        ordered = [key[order] for key in keys]
        begins[1:] = np.any([key[1:] != key[:-1] for key in ordered], axis=0)
    return Grouped(order, np.flatnonzero(begins))


def _dense(codes: Ints, bound: int) -> tuple[Ints, int]:
    if bound > _TABLE_MAX:
        return ranked(codes)
    seen = np.zeros(bound, np.int64)
    seen[codes] = 1
    numbers = np.cumsum(seen)
    return numbers[codes] - 1, int(seen.sum())
