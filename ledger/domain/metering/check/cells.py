"""Adds up rows by three keys at once, in one pass over a table of them.

Invariant: a sum is that of its rows in 64 bits; whoever asks knows that none outgrows them.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ledger.domain.arrays import Ints
from ledger.domain.compiled import compiled, inlined

# Cells are few beside rows: a table that stays in the processor's cache is tried first.
_TABLE_MIN = 1 << 15
# Rows whose cells are known stay in the cache until each of their counts is added.
_BLOCK = 1 << 12
_MIXES = (0x1E3779B97F4A7C15, 0x2545F4914F6CDD1D, 0x369DEA0F31A53F85)
WIDE = pl.Int128
Table = NDArray[np.int32]


def sum_wide(rows: pl.DataFrame, cell: Sequence[str], counts: Sequence[str]) -> pl.DataFrame:
    """Sums of 128 bits by three keys; in 64, a fraction of the work, where those hold all."""
    if not _fits(rows, counts):
        return rows.group_by(cell).agg(pl.col(*counts).cast(WIDE).sum())
    keys, sums = sum_by_cell(
        [rows[name].to_numpy() for name in cell], [rows[name].to_numpy() for name in counts]
    )
    summed = pl.DataFrame(dict(zip((*cell, *counts), (*keys, *sums), strict=True)))
    return summed.with_columns(pl.col(*counts).cast(WIDE))


def _fits(rows: pl.DataFrame, counts: Sequence[str]) -> bool:
    """Whether no sum of counts of these rows can wrap in 64 bits."""
    if not rows.height:
        return True
    edges = rows.select(pl.min(*counts)).row(0) + rows.select(pl.max(*counts)).row(0)
    return max(abs(int(edge)) for edge in edges) * rows.height < 2**63


def sum_by_cell(keys: Sequence[Ints], counts: Sequence[Ints]) -> tuple[Ints, Ints]:
    """Each distinct triple of keys as a row, and beside it the sums of the counts of its rows."""
    triple, values = tuple(keys), tuple(counts)
    table, cells, sums = _empty(_TABLE_MIN, len(values))
    done, count = _add(triple, values, table, cells, sums, 0, 0)
    while done < triple[0].size:
        known, added = cells[:count], sums[:, :count]
        table, cells, sums = _empty(8 * table.size, len(values))
        cells[:count], sums[:, :count] = known, added
        _enter(table, cells, count)
        done, count = _add(triple, values, table, cells, sums, done, count)
    return cells[:count].T, sums[:, :count]


def _empty(size: int, counts: int) -> tuple[Table, Ints, Ints]:
    """An empty table, a power of two, and what may be in it before it is half full."""
    cells = np.empty((size // 2, 3), np.int64)
    return np.full(size, -1, np.int32), cells, np.zeros((counts, size // 2), np.int64)


@inlined
def _slot(first: int, second: int, third: int, table: Table, cells: Ints) -> int:
    """Where a triple is in the table, or the free place where it belongs."""
    mixed = first * _MIXES[0] ^ second * _MIXES[1] ^ third * _MIXES[2]
    at = (mixed ^ (mixed >> 32)) & (table.size - 1)
    while table[at] >= 0:
        cell = table[at]
        if cells[cell, 0] == first and cells[cell, 1] == second and cells[cell, 2] == third:
            break
        at = (at + 1) & (table.size - 1)
    return at


@compiled
def _enter(table: Table, cells: Ints, count: int) -> None:
    for number in range(count):
        table[_slot(cells[number, 0], cells[number, 1], cells[number, 2], table, cells)] = number


@compiled
def _add(
    keys: tuple[Ints, ...],
    counts: tuple[Ints, ...],
    table: Table,
    cells: Ints,
    sums: Ints,
    done: int,
    count: int,
) -> tuple[int, int]:
    """Adds rows from `done` on to the `count` cells so far, until all are added or half of the
    table is full: with a larger one it goes on from there."""
    first, second, third = keys
    numbers = np.empty(_BLOCK, np.int32)
    full = False
    while done < first.size and not full:
        end = min(done + _BLOCK, first.size)
        for n in range(done, end):
            at = _slot(first[n], second[n], third[n], table, cells)
            if table[at] < 0:
                if 2 * count == table.size:
                    end, full = n, True
                    break
                table[at] = count
                cells[count, 0], cells[count, 1], cells[count, 2] = first[n], second[n], third[n]
                count += 1
            numbers[n - done] = table[at]
        for which in range(len(counts)):
            values, added = counts[which], sums[which]
            for n in range(done, end):
                added[numbers[n - done]] += values[n]
        done = end
    return done, count
