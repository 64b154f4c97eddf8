"""Runs of a column as arrays of PostgreSQL, in the form that binary COPY takes.

A head of dimensions, whether any is null, the type, length and first index; then each element
with its length in octets.
"""

from itertools import pairwise
from struct import pack

import numpy as np
import polars as pl

from ledger.store.binary import amounts

# Types as every PostgreSQL numbers them.
_INT8, _NUMERIC = 20, 1700
_HEAD, _NONE = ">iiIii", ">iiI"


def arrays(series: pl.Series, counts: pl.Series) -> pl.Series:
    """So many of a column one after the other, none of them null, as `bigint[]` where they are of
    64 bits; of 128 they are whole numbers of 1e-12 and become `numeric[]`."""
    wide = series.dtype == pl.Int128
    octets, size = _elements(series, wide)
    kind = _NUMERIC if wide else _INT8
    ends = [0, *counts.cum_sum().to_list()]
    return pl.Series(
        series.name,
        [
            _head(kind, until - since) + octets[since * size : until * size]
            for since, until in pairwise(ends)
        ],
        dtype=pl.Binary,
    )


def _head(kind: int, count: int) -> bytes:
    return pack(_HEAD, 1, 0, kind, count, 1) if count else pack(_NONE, 0, 0, kind)


def _elements(series: pl.Series, wide: bool) -> tuple[bytes, int]:
    if series.is_empty():
        return b"", 0
    values = amounts(series.name, series).values if wide else series.to_numpy()
    dtype = np.dtype(values.dtype if wide else ">i8")
    record = np.empty(len(series), np.dtype([("octets", ">i4"), ("value", dtype)]))
    record["octets"], record["value"] = dtype.itemsize, values
    return record.tobytes(), record.dtype.itemsize
