"""Adds rows of many batches up by their keys, in the order of these: by whole numbers alone, which
are sorted several times as fast as rows are."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from ledger.domain.arrays import Ints
from ledger.domain.frames import rows_at, with_series
from ledger.domain.metering.numbering import combined, first_rows

# Below what any key or number of a batch is: nothing stands before something.
_NOTHING = -(2**63)
_DECIDING = "usage_key_id"


def added_up(
    frame: pl.DataFrame, keys: Sequence[str], counts: Sequence[str], following: Sequence[str] = ()
) -> pl.DataFrame:
    """A row for all that have the same `keys`, in their order, with the sums of `counts`, the last
    and first `batch_seq`, and whatever else the first row says; none where all come to nothing.

    `following` are those of the keys that `usage_key_id` decides, which is a key too.
    """
    codes, size = combined(_ranks(frame, keys, following), frame.height)
    sums = {name: _summed(frame[name], codes, size) for name in counts}
    moved = np.flatnonzero(np.any([values != 0 for values in sums.values()], axis=0))
    others = [name for name in frame.columns if name not in {*counts, "batch_seq"}]
    first, last = _ends(frame["batch_seq"].to_numpy(), codes, size)
    return with_series(
        rows_at(frame, others, first_rows(codes, size)[moved]),
        *(pl.Series(name, values[moved]) for name, values in sums.items()),
        pl.Series("batch_seq", last[moved]),
        pl.Series("first_batch_seq", first[moved]),
    )


def _ranks(
    frame: pl.DataFrame, keys: Sequence[str], following: Sequence[str]
) -> list[tuple[Ints, int]]:
    ranks = {name: _ranked(frame[name]) for name in keys if name not in following}
    for name in following:
        # Of each key once: texts are slow to put in order.
        codes, size = ranks[_DECIDING]
        ranked, count = _ranked(frame[name][first_rows(codes, size)])
        ranks[name] = ranked[codes], count
    return [ranks[name] for name in keys]


def _ranked(series: pl.Series) -> tuple[Ints, int]:
    """Which place each value has among those of a column, and how many places there are."""
    if series.null_count() == len(series):
        return np.zeros(len(series), np.int64), 1
    if series.dtype == pl.String:
        return _ranked_texts(series)
    numbers = series.to_physical().fill_null(_NOTHING).to_numpy()
    values, ranks = np.unique(numbers, return_inverse=True)
    return ranks, values.size


def _ranked_texts(series: pl.Series) -> tuple[Ints, int]:
    values = series.drop_nulls().unique().sort()
    ranks = series.cast(pl.Enum(values)).to_physical().cast(pl.Int64) + 1
    return ranks.fill_null(0).to_numpy(), len(values) + 1


def _summed(series: pl.Series, codes: Ints, size: int) -> Ints:
    sums = np.zeros(size, np.int64)
    np.add.at(sums, codes, series.to_numpy())
    return sums


def _ends(numbers: Ints, codes: Ints, size: int) -> tuple[Ints, Ints]:
    first, last = np.full(size, 2**63 - 1, np.int64), np.full(size, _NOTHING, np.int64)
    np.minimum.at(first, codes, numbers)
    np.maximum.at(last, codes, numbers)
    return first, last
