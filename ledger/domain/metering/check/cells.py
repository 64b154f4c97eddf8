"""Adds up rows by two or three keys at once, in one pass over a table of them.

Invariant: a sum is that of its rows, in 64 bits where those hold it and its neighbour, else in 128.
"""

from collections.abc import Iterable, Iterator, Sequence

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


def sum_exactly(
    frames: Sequence[pl.DataFrame], cell: Sequence[str], counts: Sequence[str]
) -> pl.DataFrame:
    """Sums of 128 bits by two or three keys; of 64, a fraction of the work, where those hold two
    of them added."""
    if any(frame.schema[name] == WIDE for frame in frames for name in counts):
        return _sum_wide(frames, cell, counts)
    parts = [
        (_arrays(part, cell), _arrays(part, counts))
        for frame in frames
        for part in contiguous(frame)
    ]
    rows = sum(frame.height for frame in frames)
    if max((_largest(values) for _, values in parts), default=0) * rows >= 2**62:
        return _sum_wide(frames, cell, counts)
    keys, sums = sum_by_cell(parts, len(cell), len(counts))
    return pl.DataFrame(dict(zip((*cell, *counts), (*keys, *sums), strict=True)))


def contiguous(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """A frame as the pieces that lie in one: a column of them is an array, and not a copy."""
    at = 0
    for rows in frame.to_series(0).chunk_lengths():
        yield frame[at : at + rows]
        at += rows


def _sum_wide(
    frames: Sequence[pl.DataFrame], cell: Sequence[str], counts: Sequence[str]
) -> pl.DataFrame:
    wide = [frame.select(*cell, pl.col(*counts).cast(WIDE)) for frame in frames]
    return pl.concat(wide).group_by(cell).agg(pl.sum(*counts))


def _arrays(part: pl.DataFrame, names: Sequence[str]) -> tuple[Ints, ...]:
    arrays = tuple(part[name].to_numpy().view() for name in names)
    for column in arrays:
        # Whether it is a copy or not: for each kind of array a loop is compiled anew.
        column.flags.writeable = False
    return arrays


def _largest(values: Sequence[Ints]) -> int:
    """How far the farthest of these is from nothing."""
    edges = [edge for column in values if column.size for edge in (column.min(), column.max())]
    return max((abs(int(edge)) for edge in edges), default=0)


def sum_by_cell(
    parts: Iterable[tuple[tuple[Ints, ...], tuple[Ints, ...]]], keyed: int, counted: int
) -> tuple[Ints, Ints]:
    """Each distinct pair or triple of keys as columns, and the sums of the counts of its rows, of
    parts that have as many keys and counts."""
    table, cells, sums = _empty(_TABLE_MIN, counted)
    count = 0
    for keys, counts in parts:
        # A pair is the triple whose third key is the second.
        triple = (*keys, keys[-1])[:3]
        done, count = _add(triple, counts, table, cells, sums, 0, count)
        while done < triple[0].size:
            known, added = cells[:count], sums[:, :count]
            table, cells, sums = _empty(8 * table.size, counted)
            cells[:count], sums[:, :count] = known, added
            _enter(table, cells, count)
            done, count = _add(triple, counts, table, cells, sums, done, count)
    return cells[:count].T[:keyed], sums[:, :count]


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
