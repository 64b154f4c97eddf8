"""Turns times of attempts into busy seconds by engine and window; bit n from the left is second n.

Invariant: the seconds are those that `metering/busy` says, whatever the order, and memory grows
with the windows that are touched, not with the attempts.
"""

import numpy as np

from ledger.domain.arrays import Ints, Octets
from ledger.domain.compiled import compiled, inlined
from ledger.domain.period import WINDOW_SECONDS

OCTETS = -(-WINDOW_SECONDS // 8)
_SECOND_US = 1_000_000
_WINDOW_US = WINDOW_SECONDS * _SECOND_US
_KEY_MIX, _WINDOW_MIX = 0x1E3779B97F4A7C15, 0x2545F4914F6CDD1D
_TABLE_MIN = 1 << 10


def mark_busy(keys: Ints, starts: Ints, ends: Ints) -> tuple[Ints, Ints, Octets]:
    """Keys, windows (start) and 113 octets of the seconds that [start, end) touch; microseconds.

    An attempt that ends where or before it starts touches the second of its end.
    """
    table, cells, octets = _empty(_TABLE_MIN)
    done, count = _mark(keys, (starts, ends), table, cells, octets, 0, 0)
    while done < keys.size:
        known, marked = cells[:count], octets[:count]
        table, cells, octets = _empty(4 * table.size)
        cells[:count], octets[:count] = known, marked
        _enter(table, cells, count)
        done, count = _mark(keys, (starts, ends), table, cells, octets, done, count)
    return cells[:count, 0].copy(), cells[:count, 1] * _WINDOW_US, octets[:count].copy()


def _empty(size: int) -> tuple[Ints, Ints, Octets]:
    """An empty table, a power of two, and what may be in it before it is half full."""
    cells = np.empty((size // 2, 2), np.int64)
    return np.full(size, -1, np.int64), cells, np.zeros((size // 2, OCTETS), np.uint8)


@inlined
def _slot(key: int, window: int, table: Ints, cells: Ints) -> int:
    """Where a cell is in the table, or the free place where it belongs."""
    mixed = key * _KEY_MIX ^ window * _WINDOW_MIX
    mixed ^= mixed >> 32
    at = mixed & (table.size - 1)
    while table[at] >= 0 and (cells[table[at], 0] != key or cells[table[at], 1] != window):
        at = (at + 1) & (table.size - 1)
    return at


@compiled
def _enter(table: Ints, cells: Ints, count: int) -> None:
    for number in range(count):
        table[_slot(cells[number, 0], cells[number, 1], table, cells)] = number


@compiled
def _mark(
    keys: Ints,
    spans: tuple[Ints, Ints],
    table: Ints,
    cells: Ints,
    octets: Octets,
    done: int,
    count: int,
) -> tuple[int, int]:
    """Marks from attempt `done` on, with `count` pairs of key and window so far.

    Stops at the attempt where the table is half full: with a larger one that is marked again.
    """
    starts, ends = spans
    for n in range(done, keys.size):
        start = min(starts[n], ends[n])
        last = max(start, ends[n] - 1)
        for window in range(start // _WINDOW_US, last // _WINDOW_US + 1):
            at = _slot(keys[n], window, table, cells)
            if table[at] < 0:
                if 2 * count == table.size:
                    return n, count
                table[at] = count
                cells[count, 0], cells[count, 1] = keys[n], window
                count += 1
            base = window * _WINDOW_US
            first = max(start - base, 0) // _SECOND_US
            final = min(last - base, _WINDOW_US - 1) // _SECOND_US
            _set(octets, table[at], first, final)
    return keys.size, count


@inlined
def _set(octets: Octets, row: int, first: int, final: int) -> None:
    """Set the bits of these seconds, both included."""
    begin, end = first >> 3, final >> 3
    head, tail = 0xFF >> (first & 7), (0xFF << (7 - (final & 7))) & 0xFF
    if begin == end:
        octets[row, begin] |= head & tail
        return
    octets[row, begin] |= head
    octets[row, begin + 1 : end] = 0xFF
    octets[row, end] |= tail
