"""Largest remainder on columns: what `apportion` does to many weights, without an object for each.

Invariant: the parts are those of `apportion`, to the last unit and in the same tie order.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ledger.domain.apportion import apportion
from ledger.domain.arrays import Ints, Words
from ledger.domain.compiled import compiled
from ledger.domain.wide import WHOLE_BITS, Wide, is_less, part_of, plus

# Parts of more bits than this are made one by one: a hundred of others fit into 64.
_PART_BITS = 56
# Whole numbers, Python's own where they may be beyond 64 bits.
Parts: TypeAlias = Ints | NDArray[np.object_]


class WideWeights(NamedTuple):
    """Weights of up to 128 bits, none below zero, as two columns of words."""

    high: Words
    low: Words

    def to_list(self) -> list[int]:
        """The weights, one by one."""
        pairs = zip(self.high.tolist(), self.low.tolist(), strict=True)
        return [high << 64 | low for high, low in pairs]


def apportion_columns(totals: Sequence[int], weights: WideWeights) -> Parts:
    """A row of parts of each total in proportion to weights; as `apportion` refuses.

    >>> ones = WideWeights(np.zeros(3, np.uint64), np.ones(3, np.uint64))
    >>> apportion_columns([10, -4], ones).tolist()
    [[4, 3, 3], [-2, -1, -1]]
    """
    high, low = _sum(*weights)
    fits = 0 < (high << 64 | low) < 1 << WHOLE_BITS
    if fits and all(total.bit_length() <= _PART_BITS for total in totals):
        return _parts(np.array(totals, np.int64), *weights)
    each = weights.to_list()
    return np.array([apportion(total, each) for total in totals], object)


@compiled
def _sum(high: Words, low: Words) -> Wide:
    summed = (np.uint64(0), np.uint64(0))
    for n in range(low.size):
        summed = plus(summed, (high[n], low[n]))
    return summed


@compiled
def _parts(totals: Ints, high: Words, low: Words) -> Ints:
    whole = _sum(high, low)
    parts = np.zeros((totals.size, low.size), np.int64)
    for row in range(totals.size):
        if totals[row]:
            _share(abs(totals[row]), high, low, whole, parts[row])
        if totals[row] < 0:
            parts[row] *= -1
    return parts


@compiled
def _share(size: int, high: Words, low: Words, whole: Wide, shares: Ints) -> None:
    """Fill in the parts of a size."""
    rest_high, rest_low = np.empty(low.size, np.uint64), np.empty(low.size, np.uint64)
    left = size
    for n in range(low.size):
        share, rest = part_of(np.uint64(size), (high[n], low[n]), whole)
        shares[n], (rest_high[n], rest_low[n]) = share, rest
        left -= shares[n]
    for n in _largest(rest_high, rest_low, left):
        shares[n] += 1


@compiled
def _largest(high: Words, low: Words, count: int) -> Ints:
    """Places of the largest, of equal ones the earlier."""
    ranked = np.arange(low.size)
    first, last = 0, low.size - 1
    # What lies before `first` is larger than all else, what lies behind `last` is smaller.
    while first < last:
        pivot = ranked[(first + last) // 2]
        at, to = first, last
        while at <= to:
            while _is_before(high, low, ranked[at], pivot):
                at += 1
            while _is_before(high, low, pivot, ranked[to]):
                to -= 1
            if at <= to:
                ranked[at], ranked[to] = ranked[to], ranked[at]
                at += 1
                to -= 1
        if count <= to:
            last = to
        elif count >= at:
            first = at
        else:
            break
    return ranked[:count]


@compiled
def _is_before(high: Words, low: Words, this: int, other: int) -> bool:
    mine, theirs = (high[this], low[this]), (high[other], low[other])
    return is_less(theirs, mine) or (mine == theirs and this < other)
