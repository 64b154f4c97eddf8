"""Largest remainder on columns: what `apportion` does to many weights, without an object for each.

Invariant: the parts are those of `apportion`, to the last unit and in the same tie order. Products
beyond 128 bits wrap, and their differences are exact all the same, since those are small.
"""

import numpy as np
import polars as pl

from ledger.domain.apportion import apportion

# Parts of more bits than this are made one by one.
_PART_BITS = 60
_WIDE_BITS = 126
_HALF = 1 << 62


def apportion_column(total: int, weights: pl.Series) -> pl.Series:
    """Parts of `total` in proportion to weights of 128 bits, as 128 bits; as `apportion` refuses.

    >>> apportion_column(10, pl.Series([1, 1, 1], dtype=pl.Int128)).to_list()
    [4, 3, 3]
    """
    size, whole = abs(total), int(weights.sum())
    fits = size.bit_length() <= _PART_BITS and whole.bit_length() + 2 < _WIDE_BITS
    if not fits or whole <= 0 or (weights < _wide(0)).any():
        return pl.Series(apportion(total, weights.to_list()), dtype=pl.Int128)
    # By the leading bits of the weights: below a share by a few units, never above it.
    coarser = 1 << max(whole.bit_length() + size.bit_length() - _WIDE_BITS, 0)
    below = weights // _wide(coarser) * _wide(size) // _wide(whole // coarser + 1)
    left = weights * _wide(size) - below * _wide(whole)
    more = left // _wide(whole)
    rest = left - more * _wide(whole)
    shares = (below + more).cast(pl.Int64).to_numpy().copy()
    shares[_largest(rest, size - int(shares.sum()))] += 1
    return pl.Series(-shares if total < 0 else shares).cast(pl.Int128)


def _largest(rest: pl.Series, count: int) -> "np.typing.NDArray[np.int64]":
    """Places of the largest remainders, of equal ones the earlier."""
    high = rest // _wide(_HALF)
    low = (rest - high * _wide(_HALF)).cast(pl.Int64).to_numpy()
    order = np.lexsort((-low, -high.cast(pl.Int64).to_numpy()))
    return order[:count]


def _wide(number: int) -> pl.Series:
    return pl.Series([number], dtype=pl.Int128)
