"""Runs of a column as arrays of PostgreSQL, in the form that binary COPY takes.

A head of dimensions, whether any is null, the type, length and first index; then each element
with its length in octets.
"""

from itertools import pairwise
from struct import pack

import numpy as np
import polars as pl

from ledger.domain.arrays import Ints

# The type as every PostgreSQL numbers it.
_INT8 = 20
_HEAD, _NONE = ">iiIii", ">iiI"
_ELEMENT = np.dtype([("octets", ">i4"), ("value", ">i8")])


def arrays(series: pl.Series, counts: pl.Series) -> pl.Series:
    """So many of a column of 64 bits one after the other, none of them null, as `bigint[]`."""
    octets, size = _elements(series)
    ends = [0, *counts.cum_sum().to_list()]
    return pl.Series(
        series.name,
        [
            _head(until - since) + octets[since * size : until * size]
            for since, until in pairwise(ends)
        ],
        dtype=pl.Binary,
    )


class ArrayWriter:
    """Arrays of so many numbers at most, one after the other, in one place."""

    def __init__(self, most: int) -> None:
        self._record = np.empty(most, _ELEMENT)
        self._record["octets"] = 8

    def octets(self, values: Ints) -> bytes:
        """Numbers as `bigint[]`."""
        own = self._record[: values.size]
        own["value"] = values
        return _head(values.size) + own.tobytes()


def _head(count: int) -> bytes:
    return pack(_HEAD, 1, 0, _INT8, count, 1) if count else pack(_NONE, 0, 0, _INT8)


def _elements(series: pl.Series) -> tuple[bytes, int]:
    record = np.empty(len(series), _ELEMENT)
    record["octets"], record["value"] = 8, series.to_numpy()
    return record.tobytes(), record.dtype.itemsize
