"""Runs of a column as arrays of PostgreSQL, in the form that binary COPY takes.

A head of dimensions, whether any is null, the type, length and first index; then each element
with its length in octets.
"""

from itertools import pairwise
from struct import pack

import numpy as np
import polars as pl

from ledger.domain.arrays import Codes, Ints
from ledger.domain.compiled import compiled

# The type as every PostgreSQL numbers it.
_INT8 = 20
_HEAD, _NONE = ">iiIii", ">iiI"
# Of four octets each, as this machine has them.
_HEAD_WORDS, _ELEMENT_WORDS, _EIGHT = 5, 3, 8 << 24
_8, _24, _LOW = np.uint32(8), np.uint32(24), np.uint32(0xFF00)
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
    """So many arrays of so many numbers at most, one after the other, in one place."""

    def __init__(self, arrays: int, most: int) -> None:
        self._words = np.empty(arrays * (_HEAD_WORDS + _ELEMENT_WORDS * most), np.uint32)

    def write(self, values: Ints) -> memoryview:
        """Rows of numbers as `bigint[]` each, until others are written."""
        head = np.frombuffer(_head(values.shape[1]), np.uint32)
        size = len(values) * (head.size + _ELEMENT_WORDS * values.shape[1])
        _write(self._words, head, values)
        return self._words[:size].data.cast("B")


@compiled
def _write(words: Codes, head: Codes, values: Ints) -> None:
    at = 0
    for row in range(values.shape[0]):
        words[at : at + head.size] = head
        at += head.size
        for n in range(values.shape[1]):
            words[at] = _EIGHT
            words[at + 1] = _turned(np.uint32(values[row, n] >> 32))
            words[at + 2] = _turned(np.uint32(values[row, n] & 0xFFFFFFFF))
            at += _ELEMENT_WORDS


@compiled
def _turned(word: np.uint32) -> np.uint32:
    """With its octets the other way around: the highest comes first."""
    outer, inner = word << _24 | word >> _24, (word & _LOW) << _8 | (word >> _8) & _LOW
    return np.uint32(outer | inner)


def _head(count: int) -> bytes:
    return pack(_HEAD, 1, 0, _INT8, count, 1) if count else pack(_NONE, 0, 0, _INT8)


def _elements(series: pl.Series) -> tuple[bytes, int]:
    record = np.empty(len(series), _ELEMENT)
    record["octets"], record["value"] = 8, series.to_numpy()
    return record.tobytes(), record.dtype.itemsize
