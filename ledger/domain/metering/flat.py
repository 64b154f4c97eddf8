"""Turns columns that are named by path into the frames of `columns`, a constant standing once.

Invariant: a frame made here equals the one that `columns` makes of the same events.
"""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import polars as pl

from ledger.domain.arrays import Bools, Ints, Texts
from ledger.domain.metering.columns import NAMES
from ledger.domain.metering.extras import said_column
from ledger.domain.metering.fact import STATUSES, Kind
from ledger.domain.metering.kept import COLUMNS, NAMING_PATHS, STATUS, KeptColumn, status_number
from ledger.domain.metering.numbering import combined, first_rows
from ledger.wire.limits import CORRECTION, ENERGY
from ledger.wire.schema import Path

Value = Ints | Texts
Known = tuple[Value, Bools | None]


def flat_frame(
    kind: str, rows: Ints, known: Mapping[Path, Known], constants: Mapping[Path, object]
) -> pl.DataFrame:
    """A frame of events of one type: values by path, the rows that have them, and constants."""
    series = [pl.Series("row", rows, pl.Int64)]
    scalars: list[pl.Expr] = []
    if kind != ENERGY:
        number = Kind.REPLACEMENT if kind == CORRECTION else Kind.ORIGINAL
        scalars.append(_scalar("kind", int(number), pl.Int8))
        series.append(pl.Series(NAMES, _names(rows, known), pl.Int64))
        series.append(said_column(rows.size, known, constants))
    for column in COLUMNS[kind]:
        if column.path in known:
            series.append(_series(column, known[column.path]))
        else:
            constant = _constant(column, constants.get(column.path))
            scalars.append(_scalar(column.name, constant, column.dtype))
    scalars.append(_scalar("bad_time", value=False, dtype=pl.Boolean))
    return pl.DataFrame(series).with_columns(scalars)


# By its type as well, because 1 and true are equal. To make one takes as long as some hundred rows.
@lru_cache(4_096, typed=True)
def _scalar(name: str, value: object, dtype: type[pl.DataType]) -> pl.Expr:
    """A column that says one thing."""
    return pl.lit(value, dtype).alias(name)


def _names(rows: Ints, known: Mapping[Path, Known]) -> Ints:
    """For each row the first that names the same who, what and where."""
    columns = [_codes(known[path]) for path in NAMING_PATHS if path in known]
    codes, count = combined(columns, rows.size)
    named: Ints = rows[first_rows(codes, count)][codes]
    return named


def _codes(known: Known) -> tuple[Ints, int]:
    value, valid = known
    assert isinstance(value, Texts), "what names is text"
    codes = value.codes.astype(np.int64) + 1
    return codes if valid is None else codes * valid, len(value.values) + 1


def _constant(column: KeptColumn, value: object) -> object:
    if value is None:
        return column.default
    return status_number(str(value)) if column.name == STATUS else value


def _series(column: KeptColumn, known: Known) -> pl.Series:
    name, (value, valid) = column.name, known
    series = _texts(name, value) if isinstance(value, Texts) else pl.Series(name, value, pl.Int64)
    if valid is not None:
        there = pl.DataFrame({"v": series, "there": pl.Series(valid)})
        default = pl.lit(column.default)
        series = there.select(pl.when("there").then("v").otherwise(default).alias(name))[name]
    return series if series.dtype == column.dtype else series.cast(column.dtype)


def _texts(name: str, texts: Texts) -> pl.Series:
    distinct = texts.values.alias(name)
    if name == STATUS:
        # A value that is none belongs to rows that are left to the strict decoder.
        values = [STATUSES.index(v) if v in STATUSES else 0 for v in texts.values]
        distinct = pl.Series(name, values)
    # By index, as `gather` would plan a query for it.
    return distinct[pl.Series(texts.codes.astype(np.uint32, copy=False))]
