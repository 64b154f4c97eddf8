"""Whole numbers of up to 36 digits as two columns of 64 bits: a high and a low half of 18 digits,
with the same sign."""

from typing import NamedTuple

import numpy as np

from ledger.domain.arrays import Ints
from ledger.domain.compiled import compiled

HALF_DIGITS = 18
HALF = 10**HALF_DIGITS
_QUARTER = 10**9


class Halves(NamedTuple):
    """A column of numbers: highs × HALF + lows."""

    highs: Ints
    lows: Ints


def halves_of(values: Ints) -> Halves:
    """Numbers of 64 bits."""
    highs = values // HALF
    lows = values - highs * HALF
    # Rounded down, a low half has the other sign.
    other = (highs < 0) & (lows > 0)
    return Halves(highs + other, lows - other * HALF)


def products(left: Ints, right: Ints) -> Halves:
    """What numbers come to, row by row, each of them between -HALF and HALF.

    >>> [int(half[0]) for half in products(np.array([-(10**17)]), np.array([35]))]
    [-3, -500000000000000000]
    """
    made = Halves(np.empty(left.size, np.int64), np.empty(left.size, np.int64))
    _multiply(left, right, made.highs, made.lows)
    return made


@compiled
def _multiply(left: Ints, right: Ints, highs: Ints, lows: Ints) -> None:
    for row in range(left.size):
        a, b = abs(left[row]), abs(right[row])
        middle = a // _QUARTER * (b % _QUARTER) + a % _QUARTER * (b // _QUARTER)
        low = a % _QUARTER * (b % _QUARTER) + middle % _QUARTER * _QUARTER
        sign = -1 if (left[row] < 0) != (right[row] < 0) else 1
        high = a // _QUARTER * (b // _QUARTER) + middle // _QUARTER + low // HALF
        highs[row], lows[row] = sign * high, sign * (low % HALF)
