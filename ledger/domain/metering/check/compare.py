"""Turns windows recomputed and windows stored into the differences between them.

Invariant: no row and a row of zeros are the same; anything else that is not equal is a difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from ledger.domain.arrays import Bools, Octets
from ledger.domain.metering.check.windows import (
    ACTIVITY_COUNTS,
    ACTIVITY_KEYS,
    MARK_COUNTS,
    USAGE_COUNTS,
    USAGE_KEYS,
    BusySeconds,
    Windows,
)
from ledger.domain.period import EPOCH, MICROSECOND, WINDOW_SECONDS

SECONDS_NAMED = 10


@dataclass(frozen=True, slots=True)
class Difference:
    """One window of one table: each count that differs as (facts, stored), None where no row is.

    Where the table holds seconds, `seconds` says how many differ, and which are the first.
    """

    table: str
    window_start: datetime
    keys: Mapping[str, int]
    counts: Mapping[str, tuple[object, object]]
    seconds: tuple[int, Sequence[int]] | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many windows of a table were compared and how many differ, and the first of these."""

    compared: int
    differing: int
    first: Sequence[Difference] = field(default_factory=tuple)


def compare(facts: Windows, stored: Windows, *, most: int) -> dict[str, Comparison]:
    """Each table's comparison, with at most `most` differences of it named, in order of time."""
    return {
        "usage_delta": _compare_counts(
            "usage_delta", facts.usage, stored.usage, USAGE_KEYS, USAGE_COUNTS, most=most
        ),
        "activity_delta": _compare_counts(
            "activity_delta",
            facts.activity,
            stored.activity,
            ACTIVITY_KEYS,
            ACTIVITY_COUNTS,
            most=most,
        ),
        "activity_mask": _compare_seconds(facts.busy, stored.busy, most=most),
        "usage_mark": _compare_counts(
            "usage_mark", facts.marks, stored.marks, USAGE_KEYS, MARK_COUNTS, most=most
        ),
    }


def _compare_counts(
    table: str,
    facts: pl.DataFrame,
    stored: pl.DataFrame,
    keys: Sequence[str],
    counts: Sequence[str],
    *,
    most: int,
) -> Comparison:
    both = _held(facts, counts).join(
        _held(stored, counts), on=list(keys), how="full", coalesce=True, suffix="_stored"
    )
    unequal = [
        pl.col(name).fill_null(0) != pl.col(f"{name}_stored").fill_null(0) for name in counts
    ]
    differing = both.filter(pl.any_horizontal(unequal))
    ordered = differing.sort("window_start", *(key for key in keys if key != "window_start"))
    first = [_counted(table, row, keys, counts) for row in ordered.head(most).iter_rows(named=True)]
    return Comparison(both.height, differing.height, first)


def _held(windows: pl.DataFrame, counts: Sequence[str]) -> pl.DataFrame:
    """Windows that hold anything."""
    return windows.filter(pl.any_horizontal(pl.col(name) != 0 for name in counts))


def _counted(
    table: str, row: Mapping[str, Any], keys: Sequence[str], counts: Sequence[str]
) -> Difference:
    pairs = {name: (row[name], row[f"{name}_stored"]) for name in counts}
    return Difference(
        table,
        EPOCH + row["window_start"] * MICROSECOND,
        {key: row[key] for key in keys if key != "window_start"},
        {name: pair for name, pair in pairs.items() if (pair[0] or 0) != (pair[1] or 0)},
    )


def _compare_seconds(facts: BusySeconds, stored: BusySeconds, *, most: int) -> Comparison:
    both = (
        _cells(facts, "facts_row")
        .join(
            _cells(stored, "stored_row"),
            on=["engine_key_id", "window_start"],
            how="full",
            coalesce=True,
        )
        .sort("window_start", "engine_key_id")
    )
    mine, theirs = _octets(both["facts_row"], facts), _octets(both["stored_row"], stored)
    differing = np.flatnonzero((mine != theirs).any(axis=1))
    named = both[differing[:most]]
    pairs = zip(_seconds(mine[differing[:most]]), _seconds(theirs[differing[:most]]), strict=True)
    first = [
        _timed(row, *pair) for row, pair in zip(named.iter_rows(named=True), pairs, strict=True)
    ]
    return Comparison(both.height, differing.size, first)


def _cells(busy: BusySeconds, row: str) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "engine_key_id": busy.engine_key_ids,
            "window_start": busy.windows,
            row: np.arange(busy.windows.size),
        }
    )


def _octets(rows: pl.Series, busy: BusySeconds) -> Octets:
    """The octets of each row; a row that is not there has no busy second."""
    nothing = np.zeros((1, busy.octets.shape[1]), np.uint8)
    indexes = rows.fill_null(busy.windows.size).to_numpy()
    octets: Octets = np.concatenate([busy.octets, nothing])[indexes]
    return octets


def _seconds(octets: Octets) -> Bools:
    return np.unpackbits(octets, axis=1, count=WINDOW_SECONDS).astype(np.bool_)


def _timed(row: Mapping[str, Any], mine: Bools, theirs: Bools) -> Difference:
    unlike = np.flatnonzero(mine != theirs)
    known = (
        None if row["facts_row"] is None else int(mine.sum()),
        None if row["stored_row"] is None else int(theirs.sum()),
    )
    return Difference(
        "activity_mask",
        EPOCH + row["window_start"] * MICROSECOND,
        {"engine_key_id": row["engine_key_id"]},
        {"busy_seconds": known},
        (unlike.size, unlike[:SECONDS_NAMED].tolist()),
    )
