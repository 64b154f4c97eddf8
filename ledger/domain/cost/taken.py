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
    OF_NO_REQUEST's what no request claims. `shares` has a row for each of SHARES."""

    keys: Ints
    shares: Parts

    def rows(self) -> Iterator[tuple[int, ...]]:
        """Each key, and what it took."""
        return zip(self.keys.tolist(), *self.shares.tolist(), strict=True)


def nothing_taken() -> KeyShares:
    """By nobody."""
    return KeyShares(np.zeros(0, np.int64), np.zeros((len(SHARES), 0), np.int64))


def taken_together(parts: Sequence[KeyShares]) -> KeyShares:
    """What keys took of several."""
    keys, numbers = np.unique(np.concatenate([part.keys for part in parts]), return_inverse=True)
    every = np.concatenate([part.shares for part in parts], axis=1)
    summed = np.zeros((len(SHARES), keys.size), every.dtype)
    for column, taken in zip(summed, every, strict=True):
        np.add.at(column, numbers, taken)
    return KeyShares(keys, summed)


class TakenRuns(NamedTuple):
    """What was taken as runs of lines: of which part each run is, of which kind, and how many lines
    it has; and all lines in the columns of TAKEN, costs in 64 bits where they fit."""

    part: Ints
    line: Sequence[str]
    counts: Ints
    taken: pl.DataFrame


def runs_of(parts: Sequence[KeyShares]) -> TakenRuns:
    """Usage by key, and unattributed and unclaimed where there are any."""
    counts = np.array([part.keys.size for part in parts], np.int64)
    keys = np.concatenate([part.keys for part in parts]) if parts else np.zeros(0, np.int64)
    columns = [_series(name, [part.shares[at] for part in parts]) for at, name in enumerate(SHARES)]
    frame = pl.Series("usage_key_id", keys, pl.Int64).to_frame().with_columns(columns)
    of_part = np.repeat(np.arange(counts.size), counts)
    special = (keys == NOBODY) | (keys == OF_NO_REQUEST)
    if not special.any():
        there = np.flatnonzero(counts)
        return TakenRuns(there, [USAGE] * there.size, counts[there], frame)
    any_of_it = frame.select(pl.any_horizontal(pl.col(name) != 0 for name in SHARES)).to_series()
    there = np.flatnonzero(~special | any_of_it.to_numpy())
    # Those of nobody come first of their part, wherever their numbers lie among those of keys.
    there = there[np.argsort(2 * of_part[there] + ~special[there], kind="stable")]
    keys, of_part, special = keys[there], of_part[there], special[there]
    begins = np.diff(of_part, prepend=-1).astype(np.bool_) | special
    begins[1:] |= special[:-1]
    firsts = np.flatnonzero(begins)
    key = pl.col("usage_key_id")
    return TakenRuns(
        of_part[firsts],
        [_LINES.get(first, USAGE) for first in keys[firsts].tolist()],
        np.diff(firsts, append=keys.size),
        frame[there].with_columns(
            pl.when(key == OF_NO_REQUEST).then(NOBODY).otherwise(key).alias("usage_key_id")
        ),
    )


def _series(name: str, columns: Sequence[Parts]) -> pl.Series:
    every = np.concatenate(columns) if columns else np.zeros(0, np.int64)
    if every.dtype == np.int64:
        return pl.Series(name, every)
    return pl.Series(name, every.tolist(), TAKEN[name])
