"""Turns columns that are named by path into the frames of `columns`, a constant standing once.

Invariant: a frame made here equals the one that `columns` makes of the same events.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from ledger.domain.arrays import Bools, Ints, Texts
from ledger.domain.metering.columns import DATA_TEXTS, INPUT, NAMES, NAMING, OUTPUT, USAGE_INTS
from ledger.domain.metering.fact import STATUSES, Kind
from ledger.domain.metering.numbering import combined, first_rows
from ledger.domain.metering.rules import Path

Value = Ints | Texts
Known = tuple[Value, Bools | None]
CORRECTION = "inference.usage.correction.v1"
ENERGY = "gpu.energy.v1"
_ENVELOPE = ("id", "source", "subject", "datacontenttype")
_US = pl.Int64


def _usage_columns() -> list[tuple[str, Path, Any, object]]:
    data = "data"
    return [
        *((name, (name,), pl.String, None) for name in _ENVELOPE),
        *((name, (name,), _US, None) for name in ("time", "recordedtime")),
        *((name, (data, name), pl.String, None) for name in DATA_TEXTS),
        ("requests", (data, "requests"), pl.Int64, 1),
        ("revision", (data, "revision"), pl.Int64, 0),
        *((f"in_{name}", (data, "usage", "input", name), pl.Int64, None) for name in INPUT),
        *((f"out_{name}", (data, "usage", "output", name), pl.Int64, None) for name in OUTPUT),
        *((name, (data, "usage", name), pl.Int64, None) for name in USAGE_INTS),
        ("usage_source", (data, "usage", "source"), pl.String, None),
        ("complete", (data, "usage", "complete"), pl.Boolean, None),
        ("stream", (data, "stream"), pl.Boolean, None),
        ("status", (data, "status"), pl.Int8, 0),
        ("agent_id", (data, "agent", "id"), pl.String, None),
        ("agent_run_id", (data, "agent", "run_id"), pl.String, None),
        ("engine_instance", (data, "engine", "instance"), pl.String, None),
        ("cost_amount", (data, "provider_cost", "amount"), pl.String, None),
        ("cost_currency", (data, "provider_cost", "currency"), pl.String, None),
        *((name, (data, name), _US, None) for name in ("started_at", "first_token_at", "ended_at")),
    ]


def _energy_columns() -> list[tuple[str, Path, Any, object]]:
    data = "data"
    return [
        *((name, (name,), pl.String, None) for name in _ENVELOPE),
        *((name, (name,), _US, None) for name in ("time", "recordedtime")),
        *((name, (data, name), pl.String, None) for name in ("gpu_uuid", "epoch")),
        ("method", (data, "method"), pl.String, "nvml_counter"),
        ("quality", (data, "quality"), pl.String, "good"),
        ("scope", (data, "scope"), pl.String, "gpu"),
        ("sampled_at", (data, "sampled_at"), _US, None),
        *((name, (data, name), pl.Int64, None) for name in ("energy_mj", "power_mw")),
        ("mig", (data, "mig"), pl.Boolean, False),
    ]


USAGE_COLUMNS, ENERGY_COLUMNS = _usage_columns(), _energy_columns()
# The fields that say who, what and where.
NAMING_PATHS = tuple(path for name, path, _, _ in USAGE_COLUMNS if name in NAMING)


def flat_frame(
    kind: str, rows: Ints, known: Mapping[Path, Known], constants: Mapping[Path, object]
) -> pl.DataFrame:
    """A frame of events of one type: values by path, the rows that have them, and constants."""
    columns = ENERGY_COLUMNS if kind == ENERGY else USAGE_COLUMNS
    series = [pl.Series("row", rows, pl.Int64)]
    scalars: list[pl.Expr] = []
    if kind != ENERGY:
        number = Kind.REPLACEMENT if kind == CORRECTION else Kind.ORIGINAL
        scalars.append(pl.lit(int(number), pl.Int8).alias("kind"))
        series.append(pl.Series(NAMES, _names(rows, known), pl.Int64))
    for name, path, dtype, default in columns:
        if path in known:
            series.append(_series(name, known[path], dtype, default))
        else:
            scalars.append(pl.lit(_constant(name, constants, path, default), dtype).alias(name))
    scalars.append(pl.lit(value=False).alias("bad_time"))
    return pl.DataFrame(series).with_columns(scalars)


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


def _constant(name: str, constants: Mapping[Path, object], path: Path, default: object) -> object:
    value = constants.get(path)
    if value is None:
        return default
    return STATUSES.index(str(value)) if name == "status" else value


def _series(name: str, known: Known, dtype: Any, default: object) -> pl.Series:
    value, valid = known
    found = _texts(name, value) if isinstance(value, Texts) else pl.Series(name, value, pl.Int64)
    if valid is not None:
        there = pl.DataFrame({"v": found, "there": pl.Series(valid)})
        found = there.select(pl.when("there").then("v").otherwise(pl.lit(default)).alias(name))[
            name
        ]
    return found if found.dtype == dtype else found.cast(dtype)


def _texts(name: str, texts: Texts) -> pl.Series:
    values: Sequence[Any] = texts.values
    if name == "status":
        # A value that is none belongs to rows that are left to the strict decoder.
        values = [STATUSES.index(v) if v in STATUSES else 0 for v in texts.values]
    distinct = pl.Series(name, values)
    # By index, as `gather` would plan a query for it.
    return distinct[pl.Series(texts.codes.astype(np.uint32, copy=False))]
