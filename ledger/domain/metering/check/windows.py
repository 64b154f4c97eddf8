"""Turns facts into the windows they make, part by part, in any order.

Invariant: parts merged are the windows of all their facts: sums add, and seconds merge by OR. Sums
have 128 bits, so that a sum that wrapped where it was made is not made again here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ledger.domain.arrays import Ints, Octets
from ledger.domain.metering.check.busy import OCTETS, mark_busy
from ledger.domain.metering.check.cells import WIDE, contiguous, sum_exactly
from ledger.domain.metering.check.spans import UNKNOWN, find_spans
from ledger.domain.metering.check.spread import WORK, worked_windows
from ledger.domain.metering.fact import MARKS
from ledger.domain.period import WINDOW_SECONDS

WINDOW_US = WINDOW_SECONDS * 1_000_000
METERS = ("uncached", "cache_read", "cache_write", "visible", "reasoning")
USAGE_KEYS = ("usage_key_id", "window_start")
USAGE_COUNTS = ("requests", *METERS)
ACTIVITY_KEYS = ("engine_key_id", "window_start", "usage_key_id")
ACTIVITY_COUNTS = WORK
KEYS = ("usage_key_id", "engine_key_id")
MARK_COUNTS = tuple(MARKS)
# What is asked of a fact.
FACT_COLUMNS = (
    *KEYS,
    *("kind", "flags", "time", "started_at", "first_token_at", "ended_at"),
    *USAGE_COUNTS,
)
_MARKED = int(sum(MARKS.values()))


def _no_rows(keys: Sequence[str], counts: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame(schema=dict.fromkeys(keys, pl.Int64) | dict.fromkeys(counts, WIDE))


@dataclass(frozen=True, slots=True)
class BusySeconds:
    """Busy seconds by engine key and window (start in microseconds), 900 bits in 113 octets a row.

    Each pair of key and window is there once.
    """

    engine_key_ids: Ints
    windows: Ints
    octets: Octets


@dataclass(frozen=True, slots=True)
class Spans:
    """When attempts ran on engines, a row each; start is end where nobody knows the start."""

    engine_key_ids: Ints
    starts: Ints
    ends: Ints


@dataclass(frozen=True, slots=True)
class FactPart:
    """Some facts. Times in microseconds since 1970, counts with their sign.

    `grouped` has the sums of all by keys and window of `time`, `spans` when each ran; `split` has,
    row by row, at least those that worked outside the window of their time; `marks` has requests
    by what they lack, where they lack anything.
    """

    grouped: pl.DataFrame
    split: pl.DataFrame
    spans: Spans
    marks: pl.DataFrame

    @property
    def facts(self) -> int:
        """How many facts these are."""
        return self.spans.starts.size

    @classmethod
    def of_rows(cls, rows: pl.DataFrame) -> "FactPart":
        """Facts that nobody has looked at: keys, kind, flags, four times and counts of each."""
        times = ("time", "started_at", "ended_at")
        pieces = [find_spans(*(_known(part[name]) for name in times)) for part in contiguous(rows)]
        starts, ends, inside = map(np.concatenate, zip(*pieces, strict=True))
        spans = Spans(rows["engine_key_id"].to_numpy(), starts, ends)
        outside = rows.filter(~pl.Series(inside)).rechunk()
        return cls(_grouped(rows), outside, spans, _marked(rows))


@dataclass(frozen=True, slots=True)
class Windows:
    """What facts come to: usage, activity and marks by their keys, and when work ran."""

    usage: pl.DataFrame
    activity: pl.DataFrame
    busy: BusySeconds
    marks: pl.DataFrame

    @property
    def rows(self) -> int:
        """How many windows of either kind are held."""
        counted = self.usage.height + self.activity.height + self.marks.height
        return counted + self.busy.windows.size


NO_WINDOWS = Windows(
    _no_rows(USAGE_KEYS, USAGE_COUNTS),
    _no_rows(ACTIVITY_KEYS, ACTIVITY_COUNTS),
    BusySeconds(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, OCTETS), np.uint8)),
    _no_rows(USAGE_KEYS, MARK_COUNTS),
)


def add_up(part: FactPart) -> Windows:
    """The windows of some facts."""
    grouped, split = _worked(part.grouped), _worked(_grouped(part.split))
    elsewhere = split.with_columns((0 - pl.col(name)).alias(name) for name in ACTIVITY_COUNTS)
    spread = worked_windows(part.split)
    return Windows(
        sum_exactly([part.grouped], USAGE_KEYS, USAGE_COUNTS),
        sum_exactly([grouped, elsewhere, spread], ACTIVITY_KEYS, ACTIVITY_COUNTS),
        BusySeconds(*mark_busy(part.spans.engine_key_ids, part.spans.starts, part.spans.ends)),
        part.marks,
    )


def merge(parts: Sequence[Windows]) -> Windows:
    """The windows of all parts together."""
    if len(parts) < 2:
        return parts[0] if parts else NO_WINDOWS
    return Windows(
        sum_exactly([part.usage for part in parts], USAGE_KEYS, USAGE_COUNTS),
        sum_exactly([part.activity for part in parts], ACTIVITY_KEYS, ACTIVITY_COUNTS),
        _merge_busy([part.busy for part in parts]),
        sum_exactly([part.marks for part in parts], USAGE_KEYS, MARK_COUNTS),
    )


def _known(times: pl.Series) -> Ints:
    return (times.fill_null(UNKNOWN) if times.null_count() else times).to_numpy()


def _grouped(rows: pl.DataFrame) -> pl.DataFrame:
    """Sums by keys and window of `time`."""
    window = (pl.col("time") // WINDOW_US * WINDOW_US).alias("window_start")
    dated = rows.select(*KEYS, window, *USAGE_COUNTS)
    return sum_exactly([dated], (*KEYS, "window_start"), USAGE_COUNTS)


def _marked(rows: pl.DataFrame) -> pl.DataFrame:
    """Requests by what they lack, by usage key and window of `time`: most facts lack nothing."""
    marked = rows.filter(pl.col("flags") & _MARKED != 0).select(
        "usage_key_id",
        (pl.col("time") // WINDOW_US * WINDOW_US).alias("window_start"),
        *(
            pl.when(pl.col("flags") & int(flag) != 0)
            .then("requests")
            .otherwise(0)
            .cast(WIDE)
            .alias(name)
            for name, flag in MARKS.items()
        ),
    )
    return sum_exactly([marked], USAGE_KEYS, MARK_COUNTS)


def _worked(grouped: pl.DataFrame) -> pl.DataFrame:
    """What was worked if all of it was worked in the window of `time`."""
    return grouped.with_columns(output=pl.col("visible") + pl.col("reasoning"))


def _merge_busy(parts: Sequence[BusySeconds]) -> BusySeconds:
    keys = np.concatenate([part.engine_key_ids for part in parts])
    windows = np.concatenate([part.windows for part in parts])
    octets = np.concatenate([part.octets for part in parts])
    if not keys.size:
        return NO_WINDOWS.busy
    order = np.lexsort((windows, keys))
    keys, windows = keys[order], windows[order]
    new = np.ones(keys.size, np.bool_)
    new[1:] = (keys[1:] != keys[:-1]) | (windows[1:] != windows[:-1])
    firsts = np.flatnonzero(new)
    merged = np.bitwise_or.reduceat(octets[order], firsts, axis=0)
    return BusySeconds(keys[firsts], windows[firsts], merged)
