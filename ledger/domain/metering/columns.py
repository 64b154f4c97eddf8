"""Turns decoded events into one frame per kind, a row an event, times in microseconds.

Invariant: no float column exists; null is unknown and stays null.
"""

from collections.abc import Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

import numpy as np
import polars as pl

from ledger.domain.frames import with_series
from ledger.domain.metering.extras import EXTRAS_SAID, said_text
from ledger.domain.metering.fact import Kind
from ledger.domain.metering.kept import (
    COUNTERS_COLUMNS,
    ENERGY_COLUMNS,
    GAPS_COLUMNS,
    STATUS,
    USAGE_COLUMNS,
    KeptColumn,
    status_number,
)
from ledger.domain.metering.structs import CorrectionEvent, DecodedEvent
from ledger.domain.metering.times import parse_times
from ledger.wire.schema import Path

# The column that tells rows apart by who, what and where: rows with the same number are alike.
NAMES = "names"
_ROW = "row"


class _Absent:
    """A part of an event that it does not have: nothing in it is known."""

    __slots__ = ()

    def __getattr__(self, name: str) -> None:
        return None


_ABSENT = _Absent()


def usage_frame(events: Sequence[DecodedEvent], rows: Sequence[int]) -> pl.DataFrame:
    """Attempts and corrections: `row` is the place in the call, leaves still as sent."""
    kinds = pl.Series("kind", [_kind(event) for event in events], pl.Int8)
    frame = _frame(events, rows, USAGE_COLUMNS, [kinds, _extras(events)])
    return with_series(frame, frame[_ROW].alias(NAMES))


def _extras(events: Sequence[DecodedEvent]) -> pl.Series:
    used = _read("usage", _read("data", events))
    said = [said_text(each.modality, each.other) for each in used]
    return pl.Series(EXTRAS_SAID, said, pl.String)


def energy_frame(events: Sequence[DecodedEvent], rows: Sequence[int]) -> pl.DataFrame:
    """Raw cumulative readings of GPUs, energy in mJ, power in mW."""
    return _frame(events, rows, ENERGY_COLUMNS)


def counters_frame(events: Sequence[DecodedEvent], rows: Sequence[int]) -> pl.DataFrame:
    """Scrapes, a row each; `values` is a list of (name, value text, labels, precision loss)."""
    scraped = _read("values", _read("data", events))
    values = [
        tuple((v.name, v.value, v.labels, v.precision_loss) for v in values_of)
        for values_of in scraped
    ]
    return _frame(events, rows, COUNTERS_COLUMNS, [pl.Series("values", values, pl.Object)])


def gaps_frame(events: Sequence[DecodedEvent], rows: Sequence[int]) -> pl.DataFrame:
    """Stretches of meters without readings, a row each."""
    return _frame(events, rows, GAPS_COLUMNS)


@lru_cache
def no_usage() -> pl.DataFrame:
    """The frame of no attempts."""
    return usage_frame([], [])


@lru_cache
def no_energy() -> pl.DataFrame:
    """The frame of no readings."""
    return energy_frame([], [])


@lru_cache
def no_counters() -> pl.DataFrame:
    """The frame of no scrapes."""
    return counters_frame([], [])


@lru_cache
def no_gaps() -> pl.DataFrame:
    """The frame of no stretches without readings."""
    return gaps_frame([], [])


def _kind(event: DecodedEvent) -> int:
    return Kind.REPLACEMENT if isinstance(event, CorrectionEvent) else Kind.ORIGINAL


def _frame(
    events: Sequence[DecodedEvent],
    rows: Sequence[int],
    columns: Sequence[KeptColumn],
    more: Sequence[pl.Series] = (),
) -> pl.DataFrame:
    owners: dict[Path, Sequence[Any]] = {(): events}
    series = [_series(column, _owners(column.path[:-1], owners)) for column in columns]
    times = [column.name for column in columns if column.is_time]
    return _with_times(pl.DataFrame([pl.Series(_ROW, rows, pl.Int64), *more, *series]), times)


def _owners(path: Path, owners: dict[Path, Sequence[Any]]) -> Sequence[Any]:
    """What has the fields under a path, one an event."""
    if path not in owners:
        above = _read(path[-1], _owners(path[:-1], owners))
        owners[path] = [_ABSENT if owner is None else owner for owner in above]
    return owners[path]


def _series(column: KeptColumn, owners: Sequence[Any]) -> pl.Series:
    values = _read(column.path[-1], owners)
    if column.name == STATUS:
        values = [status_number(value) for value in values]
    return pl.Series(column.name, values, pl.String if column.is_time else column.dtype)


def _read(name: str, owners: Sequence[Any]) -> list[Any]:
    return list(map(attrgetter(name), owners))


def _with_times(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    parsed = [parse_times(frame[name]) for name in names]
    bad = np.zeros(frame.height, np.bool_)
    for times in parsed:
        # What is no time is unknown, as what nobody said is.
        if times.null_count() > frame[times.name].null_count():
            bad |= times.is_null().to_numpy() & frame[times.name].is_not_null().to_numpy()
    return with_series(frame, *parsed, pl.Series("bad_time", bad))
