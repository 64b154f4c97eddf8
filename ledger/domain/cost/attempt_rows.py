"""Loops over attempts as rows, compiled: in which windows each of them runs, and those of a window.

What a row says lies side by side: whoever takes one in any order goes to one place for all of it.
"""

from typing import NamedTuple

import numpy as np
import polars as pl

from ledger.domain.arrays import Ints
from ledger.domain.compiled import compiled
from ledger.domain.metering.spread import INPUT_METERS, WINDOW_US

# Reads from `start` to `read`, writes from `wrote` to `end`, in microseconds since 1970. Counts are
# positive, and `sign` is -1 where they are taken back; `context` is what a token that was written
# looked back on.
ATTEMPT = {
    **dict.fromkeys(("engine_key_id", "usage_key_id"), pl.Int64),
    **dict.fromkeys(("start", "read", "wrote", "end", "sign"), pl.Int64),
    **dict.fromkeys((*INPUT_METERS, "output", "context"), pl.Int64),
}
_NAMES = tuple(ATTEMPT)
ENGINE, KEY, START, END = (
    _NAMES.index(name) for name in ("engine_key_id", "usage_key_id", "start", "end")
)


class Bits(NamedTuple):
    """How many bits the rank of a row takes, and its number."""

    rank: int
    row: int


# A part of a frame whose columns stay in the cache of a core while they are put side by side.
PART_ROWS = 8_192


def rows_of(attempts: pl.DataFrame) -> Ints:
    """Attempts as rows, in the order of ATTEMPT."""
    rows, begin = np.empty((attempts.height, len(ATTEMPT)), np.int64), 0
    for part in attempts.iter_slices(PART_ROWS):
        for at, name in enumerate(ATTEMPT):
            rows[begin : begin + part.height, at] = part[name].to_numpy()
        begin += part.height
    return rows


@compiled
def windows_run(rows: Ints) -> tuple[int, int, int]:
    """The first and the last window since 1970 in which any of the rows runs, and in how many they
    do, each by itself."""
    first, last, count = 0, 0, 0
    for n in range(rows.shape[0]):
        begin, end = rows[n, START] // WINDOW_US, (rows[n, END] - 1) // WINDOW_US
        first = begin if n == 0 else min(begin, first)
        last = end if n == 0 else max(end, last)
        count += end - begin + 1
    return first, last, count


@compiled
def packed_cells(
    rows: Ints, numbers: Ints, owners: int, ranks: Ints, first: int, count: int, bits: Bits
) -> Ints:
    """Each row once for every window in which it runs: the window's number from `first` on and the
    owner's, the rank, and the row's own number, in so many of the lowest bits."""
    packed, at = np.empty(count, np.int64), 0
    for n in range(rows.shape[0]):
        begin, end = rows[n, START] // WINDOW_US, (rows[n, END] - 1) // WINDOW_US
        for window in range(begin - first, end - first + 1):
            cell = window * owners + numbers[n]
            packed[at] = ((cell << bits.rank) + ranks[n] << bits.row) + n
            at += 1
    return packed


@compiled
def cut_cells(packed: Ints, bits: Bits) -> tuple[Ints, Ints, Ints]:
    """The numbers of rows, where those of each cell begin, and the cells: of what is in order."""
    rows, begins = np.empty(packed.size, np.int64), np.empty(packed.size, np.int64)
    count, shift, last = 0, bits.rank + bits.row, np.int64(-1)
    for at in range(packed.size):
        rows[at] = packed[at] & ((1 << bits.row) - 1)
        if packed[at] >> shift != last:
            begins[count], last = at, packed[at] >> shift
            count += 1
    begins = begins[:count].copy()
    return rows, begins, packed[begins] >> shift


@compiled
def fill_ran(rows: Ints, numbers: Ints, window_us: int, ran: Ints) -> Ints:
    """Fill in some of the rows, column by column from their start on, with times of a window; and
    their usage keys."""
    keys = np.empty(numbers.size, np.int64)
    for n in range(numbers.size):
        row = rows[numbers[n]]
        keys[n] = row[KEY]
        for at in range(START, row.size):
            ran[at - START, n] = row[at] - (window_us if at <= END else 0)
    return keys
