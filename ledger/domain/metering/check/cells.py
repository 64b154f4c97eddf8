"""Adds up rows by three keys at once, in one pass over a table of them.

Invariant: a sum is that of its rows in 64 bits; whoever asks knows that none outgrows them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ledger.domain.arrays import Ints
from ledger.domain.compiled import compiled

# Cells are few beside rows: a table that stays in the processor's cache is tried first.
_TABLE_MIN = 1 << 15
_FULL = -1
_MIXES = (0x1E3779B97F4A7C15, 0x2545F4914F6CDD1D, 0x369DEA0F31A53F85)


def sum_by_cell(keys: Sequence[Ints], counts: Sequence[Ints]) -> tuple[Ints, Ints]:
    """Each distinct triple of keys as a row, and beside it the sums of the counts of its rows."""
    first, second, third = keys
    rows = first.size
    numbers, cells = np.empty(rows, np.int64), np.empty((rows, 3), np.int64)
    size, count = _TABLE_MIN, _FULL
    while count == _FULL:
        count = _number(first, second, third, np.full(size, -1, np.int32), cells, numbers)
        size *= 8
    sums = np.zeros((len(counts), count), np.int64)
    for values, added in zip(counts, sums, strict=True):
        _add(values, numbers, added)
    return cells[:count].T, sums


@compiled
def _number(
    first: Ints, second: Ints, third: Ints, table: NDArray[np.int32], cells: Ints, numbers: Ints
) -> int:
    """Number the triples in the order in which they are met; how many there are, or that they fill
    more than half of the table: a free place is no longer near."""
    count, most = 0, table.size - 1
    for n in range(first.size):
        mixed = first[n] * _MIXES[0] ^ second[n] * _MIXES[1] ^ third[n] * _MIXES[2]
        at = (mixed ^ (mixed >> 32)) & most
        while table[at] >= 0:
            cell = cells[table[at]]
            if cell[0] == first[n] and cell[1] == second[n] and cell[2] == third[n]:
                break
            at = (at + 1) & most
        if table[at] < 0:
            if 2 * count >= table.size:
                return _FULL
            table[at] = count
            cells[count, 0], cells[count, 1], cells[count, 2] = first[n], second[n], third[n]
            count += 1
        numbers[n] = table[at]
    return count


@compiled
def _add(values: Ints, numbers: Ints, sums: Ints) -> None:
    for n in range(values.size):
        sums[numbers[n]] += values[n]
