"""What is done to frames by whole columns, or by rows where these are few, without a plan.

Polars plans a query for any expression that it is given, which costs as much as hundreds of rows
do: a batch of a few events would spend its time on plans.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from ledger.domain.arrays import Bools, Ints

# Walking over fewer rows costs less than a plan does.
MANY_ROWS = 1_000


def with_series(frame: pl.DataFrame, *columns: pl.Series) -> pl.DataFrame:
    """The frame with these columns, in place of those of their names or behind the last."""
    changed, there = frame.clone(), frame.columns
    for column in columns:
        if column.name in there:
            changed.replace_column(there.index(column.name), column)
    return changed.hstack([column for column in columns if column.name not in there])


def only(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """The frame of these columns, in this order."""
    return frame[:, list(names)]


def rows_at(frame: pl.DataFrame, names: Sequence[str], rows: Ints) -> pl.DataFrame:
    """The frame of these columns at these rows, in this order."""
    index = pl.Series(rows.astype(np.uint32))
    return pl.DataFrame([frame[name][index] for name in names])


def in_order(frame: pl.DataFrame, *names: str) -> pl.DataFrame:
    """The rows in the order of these columns, none of them null."""
    if frame.height >= MANY_ROWS:
        return frame.sort(names)
    keys = only(frame, names).rows()
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return rows_at(frame, frame.columns, np.array(order, np.int64))


def keep_rows(frame: pl.DataFrame, kept: Bools) -> pl.DataFrame:
    """The frame of these rows."""
    if kept.all():
        return frame
    return frame.filter(pl.Series(kept)) if kept.any() else frame.clear()


def repeated(name: str, value: object, rows: int, dtype: type[pl.DataType]) -> pl.Series:
    """A column that says one thing."""
    return pl.Series(name, [value], dtype).new_from_index(0, rows)


def are_known(series: pl.Series) -> Bools | None:
    """Which rows have a value; None where all have."""
    if not series.null_count():
        return None
    if len(series) < MANY_ROWS:
        return np.array([value is not None for value in series.to_list()], np.bool_)
    known: Bools = series.is_not_null().to_numpy()
    return known


def filled(series: pl.Series, value: int) -> Ints:
    """The values of a column of whole numbers, and this one where a row has none."""
    if not series.null_count():
        return series.to_numpy()
    if len(series) < MANY_ROWS:
        values = [value if each is None else each for each in series.to_list()]
        return pl.Series(values, dtype=series.dtype).to_numpy()
    return series.fill_null(value).to_numpy()


def are_repeated(frame: pl.DataFrame) -> Bools:
    """Which rows say what another says."""
    if frame.height < MANY_ROWS:
        rows = frame.rows()
        times = Counter(rows)
        return np.array([times[row] > 1 for row in rows], np.bool_)
    repeats: Bools = frame.select(pl.struct(pl.all()).is_duplicated()).to_series().to_numpy()
    return repeats


def mapped(series: pl.Series, numbers: Mapping[str, int]) -> pl.Series:
    """The 32-bit numbers of texts, all of which have one."""
    if len(series) < MANY_ROWS:
        return pl.Series(series.name, [numbers[text] for text in series.to_list()], pl.Int32)
    return series.replace_strict(numbers, return_dtype=pl.Int32)
