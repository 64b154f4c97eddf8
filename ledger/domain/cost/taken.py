"""What was taken of windows by usage key: columns of whole numbers, until they are lines."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from ledger.domain.apportion_columns import Parts
from ledger.domain.arrays import Ints
from ledger.domain.cost.cause import UNATTRIBUTED, UNCLAIMED, USAGE
from ledger.domain.cost.share import COSTS, ENERGIES, SHARES
from ledger.domain.cost.slots import NOBODY
from ledger.domain.cost.unclaimed import OF_NO_REQUEST

_LINES = {NOBODY: UNATTRIBUTED, OF_NO_REQUEST: UNCLAIMED}
TAKEN: Mapping[str, pl.DataType] = {
    "usage_key_id": pl.Int64(),
    **dict.fromkeys(ENERGIES, pl.Int64()),
    **dict.fromkeys(COSTS, pl.Int128()),
}


class KeyShares(NamedTuple):
    """What each usage key took, in their order; NOBODY's is of work without weight, and
    OF_NO_REQUEST's what no request claims. `shares` are columns in the order of SHARES."""

    keys: Ints
    shares: Sequence[Parts]

    def rows(self) -> Iterator[tuple[int, ...]]:
        """Each key, and what it took."""
        columns = (column.tolist() for column in self.shares)
        return zip(self.keys.tolist(), *columns, strict=True)


def nothing_taken() -> KeyShares:
    """By nobody."""
    none = np.zeros(0, np.int64)
    return KeyShares(none, [none] * len(SHARES))


def taken_together(parts: Sequence[KeyShares]) -> KeyShares:
    """What keys took of several."""
    keys, numbers = np.unique(np.concatenate([part.keys for part in parts]), return_inverse=True)
    columns = []
    for shares in zip(*(part.shares for part in parts), strict=True):
        every = np.concatenate(shares)
        summed = np.zeros(keys.size, every.dtype)
        np.add.at(summed, numbers, every)
        columns.append(summed)
    return KeyShares(keys, columns)


def as_lines(parts: Sequence[KeyShares]) -> tuple[pl.DataFrame, Ints]:
    """What was taken as lines: a frame of `line` and TAKEN, and of which part each line is.

    Usage by key, and unattributed and unclaimed where there are any.
    """
    counts = [part.keys.size for part in parts]
    of_part = np.repeat(np.arange(len(parts)), counts)
    keys = np.concatenate([part.keys for part in parts]) if parts else of_part
    columns = {
        name: _series(name, [part.shares[at] for part in parts]) for at, name in enumerate(SHARES)
    }
    frame = pl.DataFrame({"usage_key_id": keys, **columns}, TAKEN)
    special = np.flatnonzero((keys == NOBODY) | (keys == OF_NO_REQUEST))
    line = pl.repeat(USAGE, keys.size, eager=True).alias("line")
    if not special.size:
        return frame.with_columns(line), of_part
    key = pl.col("usage_key_id")
    told = frame.with_columns(
        line=key.replace_strict(_LINES, default=USAGE, return_dtype=pl.String),
        usage_key_id=pl.when(key == OF_NO_REQUEST).then(NOBODY).otherwise(key),
    )
    any_of_it = pl.any_horizontal(pl.col(name) != 0 for name in SHARES)
    kept = told.select((pl.col("line") == USAGE) | any_of_it).to_series()
    return told.filter(kept), of_part[kept.to_numpy()]


def _series(name: str, columns: Sequence[Parts]) -> pl.Series:
    every = np.concatenate(columns) if columns else np.zeros(0, np.int64)
    if every.dtype == np.int64:
        return pl.Series(name, every).cast(TAKEN[name])
    return pl.Series(name, every.tolist(), TAKEN[name])
