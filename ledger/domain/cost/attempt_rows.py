"""Loops over attempts as rows, compiled: which windows each of them runs in, and those of a window.

What a row says lies side by side: whoever takes one in any order goes to one place for all of it.
"""

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
# A part of a frame whose columns stay in the cache of a core while they are put side by side.
_PART_ROWS = 8_192


def rows_of(attempts: pl.DataFrame) -> Ints:
    """Attempts as rows, in the order of ATTEMPT."""
    rows, begin = np.empty((attempts.height, len(ATTEMPT)), np.int64), 0
    for part in attempts.iter_slices(_PART_ROWS):
        for at, name in enumerate(ATTEMPT):
            rows[begin : begin + part.height, at] = part[name].to_numpy()
        begin += part.height
    return rows


@compiled
def reached_windows(rows: Ints) -> tuple[Ints, Ints]:
    """Each row once for every window in which it runs, and the numbers of these since 1970."""
    count = 0
    for n in range(rows.shape[0]):
        count += (rows[n, END] - 1) // WINDOW_US - rows[n, START] // WINDOW_US + 1
    numbers, windows, at = np.empty(count, np.int64), np.empty(count, np.int64), 0
    for n in range(rows.shape[0]):
        for window in range(rows[n, START] // WINDOW_US, (rows[n, END] - 1) // WINDOW_US + 1):
            numbers[at], windows[at] = n, window
            at += 1
    return numbers, windows


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
