"""Finds work of windows that none of the attempts at hand explains, and when it may have run.

Invariant: attempts and what is found here come to the work that a window is known to hold.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from operator import add, sub
from typing import TypeAlias

import polars as pl

from ledger.domain.cost.attempt_rows import ATTEMPT
from ledger.domain.cost.attempts import NO_ATTEMPTS, SECOND_US
from ledger.domain.cost.kinds import NONE, Four, four
from ledger.domain.metering.busy import busy_seconds, runs
from ledger.domain.metering.spread import METERS, WORK, activity_windows, engine_windows

EngineWindow: TypeAlias = tuple[int, int]
_CELL = ("window_start", "engine_key_id", "usage_key_id")
# Sums of a window may be beyond 64 bits.
ACTIVITY = {**dict.fromkeys(_CELL, pl.Int64), **dict.fromkeys(WORK, pl.Int128)}
_LARGEST = 2**63 - 1
# As many facts at a time as the processor's cache holds the columns of.
_FACTS_AT_ONCE = 1 << 16
_RUN = {
    **dict.fromkeys(("window_start", "engine_key_id", "start", "end"), pl.Int64),
    **dict.fromkeys(("upto", "before", "busy"), pl.Int64),
}


def engine_work(facts: pl.DataFrame) -> dict[EngineWindow, Four]:
    """The work of facts by window and engine key."""
    seen: dict[EngineWindow, list[int]] = defaultdict(lambda: [*NONE])
    for piece in _pieces(facts):
        sums = engine_windows(_signed(piece)).select("window_start", "engine_key_id", *WORK)
        for window, engine, *work in sums.iter_rows():
            seen[window, engine] = list(map(add, seen[window, engine], work))
    return {key: four(work) for key, work in seen.items()}


def engines_beyond(
    known: Mapping[EngineWindow, Four], seen: Iterable[Mapping[EngineWindow, Four]]
) -> set[int]:
    """The engine keys at which more is `known` of a window than was `seen` in parts of the facts,
    or other than that.

    By window and engine key: facts are of what is known, so that where sums of all usage keys agree
    each of them does.
    """
    left = {key: [*sums] for key, sums in known.items()}
    for part in seen:
        for key, sums in part.items():
            if key in left:
                left[key] = list(map(sub, left[key], sums))
    return {engine for (_, engine), sums in left.items() if any(sums)}


def unseen_attempts(
    activity: pl.DataFrame, facts: pl.DataFrame, masks: Mapping[tuple[int, int], int]
) -> pl.DataFrame:
    """What `activity` knows beyond facts, spread over the seconds in which its engine ran.

    Records of hours and days are told of this way: when in them anything ran, nobody knows.
    Windows of activity, and of `masks` beside their engine keys, are microseconds.
    """
    left = activity.join(_seen(facts), on=_CELL, how="left").select(
        *_CELL,
        *((pl.col(n) - pl.col(f"{n}_right").fill_null(0)).clip(lower_bound=0) for n in WORK),
    )
    left = left.filter(pl.any_horizontal(pl.col(name) > 0 for name in WORK))
    if left.is_empty():
        return NO_ATTEMPTS
    rows = [
        row
        for window, engine in left.select("window_start", "engine_key_id").unique().iter_rows()
        for row in _runs(window, engine, masks.get((window, engine), 0))
    ]
    spread = left.join(pl.DataFrame(rows, _RUN, orient="row"), on=["window_start", "engine_key_id"])
    upto, before = (
        [pl.col(name) * pl.col(edge) // pl.col("busy") for name in WORK]
        for edge in ("upto", "before")
    )
    parts = [later - earlier for later, earlier in zip(upto, before, strict=True)]
    return spread.with_columns(
        *parts,
        read=pl.col("end"),
        wrote=pl.col("start"),
        sign=pl.lit(1, pl.Int64),
        context=pl.lit(0, pl.Int64),
    ).select(pl.col(name).cast(kind) for name, kind in ATTEMPT.items())


def _seen(facts: pl.DataFrame) -> pl.DataFrame:
    """The work of facts, in 128 bits."""
    if facts.is_empty():
        return pl.DataFrame(schema=ACTIVITY)
    wide = [pl.col(name).cast(kind) for name, kind in ACTIVITY.items()]
    pieces = [activity_windows(_signed(piece)).select(wide) for piece in _pieces(facts)]
    return pl.concat(pieces).group_by(*_CELL).agg(pl.col(name).sum() for name in WORK)


def _pieces(facts: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """So many at a time as 64 bits hold the sums of."""
    if facts.is_empty():
        return iter(())
    most = max(*facts.select(pl.col(name).abs().max() for name in METERS).row(0), 1)
    return facts.iter_slices(min(max(_LARGEST // (2 * most), 1), _FACTS_AT_ONCE))


def _signed(facts: pl.DataFrame) -> pl.DataFrame:
    counts = (pl.col(name).abs() for name in METERS)
    return facts.with_columns(*counts, sign=pl.col("requests").sign())


def _runs(window: int, engine: int, mask: int) -> Iterator[tuple[int, ...]]:
    busy, before = busy_seconds(mask), 0
    for first, end, on in runs(mask):
        if on:
            upto = before + end - first
            moments = (window + first * SECOND_US, window + end * SECOND_US)
            yield window, engine, *moments, upto, before, busy
            before = upto
