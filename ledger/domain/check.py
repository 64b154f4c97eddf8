"""Turns facts into the windows they make, part by part, in any order.

Invariant: parts merged are the windows of all their facts: sums add, and seconds merge by OR.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ledger.domain.fact import Kind
from ledger.domain.ingest.octets import Ints, Octets
from ledger.domain.ingest.spread import (
    METERS,
    WORK,
    activity_windows,
    busy_masks,
    usage_windows,
)
from ledger.domain.period import WINDOW_SECONDS

USAGE_KEYS = ("usage_key_id", "window_start")
USAGE_COUNTS = ("requests", *METERS)
ACTIVITY_KEYS = ("engine_key_id", "window_start", "usage_key_id")
ACTIVITY_COUNTS = WORK
OCTETS = -(-WINDOW_SECONDS // 8)
WHOLE = ("usage_key_id", "engine_key_id", "window_start", *USAGE_COUNTS)


def _no_rows(*columns: str) -> pl.DataFrame:
    return pl.DataFrame(schema=dict.fromkeys(columns, pl.Int64))


@dataclass(frozen=True, slots=True)
class BusySeconds:
    """Busy seconds by engine key and window (start in microseconds), 900 bits in 113 octets a row.

    Sorted by key and window, each pair once.
    """

    engine_key_ids: Ints
    windows: Ints
    octets: Octets


@dataclass(frozen=True, slots=True)
class FactPart:
    """Some facts. Times in microseconds since 1970, counts with their sign.

    `whole` has sums, by key and window, of those that began, worked and ended in one window;
    `split` the other facts, row by row; `spans` has engine and times of all of them.
    """

    facts: int
    whole: pl.DataFrame
    split: pl.DataFrame
    spans: pl.DataFrame

    @classmethod
    def of_rows(cls, rows: pl.DataFrame) -> "FactPart":
        """Facts that nobody has looked at: keys, kind, four times and counts of each."""
        return cls(rows.height, _no_rows(*WHOLE), rows, rows)


@dataclass(frozen=True, slots=True)
class Windows:
    """What facts come to: usage and activity by their keys, and the seconds in which work ran."""

    usage: pl.DataFrame
    activity: pl.DataFrame
    busy: BusySeconds

    @property
    def rows(self) -> int:
        """How many windows of either kind are held."""
        return self.usage.height + self.activity.height + self.busy.windows.size


NO_WINDOWS = Windows(
    _no_rows(*USAGE_KEYS, *USAGE_COUNTS),
    _no_rows(*ACTIVITY_KEYS, *ACTIVITY_COUNTS),
    BusySeconds(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, OCTETS), np.uint8)),
)


def add_up(part: FactPart) -> Windows:
    """The windows of some facts."""
    split = _signed(part.split)
    billed, worked = usage_windows(split), activity_windows(split)
    whole = part.whole.with_columns(output=pl.col("visible") + pl.col("reasoning"))
    return Windows(
        _sum([billed, whole], USAGE_KEYS, USAGE_COUNTS),
        _sum([worked, whole], ACTIVITY_KEYS, ACTIVITY_COUNTS),
        _busy(part.spans),
    )


def merge(parts: Sequence[Windows]) -> Windows:
    """The windows of all parts together."""
    if len(parts) < 2:
        return parts[0] if parts else NO_WINDOWS
    return Windows(
        _sum([one.usage for one in parts], USAGE_KEYS, USAGE_COUNTS),
        _sum([one.activity for one in parts], ACTIVITY_KEYS, ACTIVITY_COUNTS),
        _merge_busy([one.busy for one in parts]),
    )


def _signed(facts: pl.DataFrame) -> pl.DataFrame:
    """A reversal as ingest wrote it: the counts it takes back, spread as they were, and a sign."""
    sign = pl.when(pl.col("kind") == int(Kind.REVERSAL)).then(-1).otherwise(1).cast(pl.Int64)
    return facts.with_columns(*(pl.col(name) * sign for name in USAGE_COUNTS), sign=sign)


def _sum(
    frames: Sequence[pl.DataFrame], keys: Sequence[str], counts: Sequence[str]
) -> pl.DataFrame:
    rows = pl.concat([frame.select(*keys, *counts) for frame in frames])
    return rows.group_by(keys).agg(pl.sum(*counts))


def _busy(spans: pl.DataFrame) -> BusySeconds:
    found = busy_masks(spans)
    octets = np.packbits(found.seconds, axis=1)
    return BusySeconds(found.engine_key_ids, found.windows, octets)


def _merge_busy(parts: Sequence[BusySeconds]) -> BusySeconds:
    keys = np.concatenate([one.engine_key_ids for one in parts])
    windows = np.concatenate([one.windows for one in parts])
    octets = np.concatenate([one.octets for one in parts])
    if not keys.size:
        return NO_WINDOWS.busy
    order = np.lexsort((windows, keys))
    keys, windows = keys[order], windows[order]
    new = np.ones(keys.size, np.bool_)
    new[1:] = (keys[1:] != keys[:-1]) | (windows[1:] != windows[:-1])
    firsts = np.flatnonzero(new)
    merged = np.bitwise_or.reduceat(octets[order], firsts, axis=0)
    return BusySeconds(keys[firsts], windows[firsts], merged)
