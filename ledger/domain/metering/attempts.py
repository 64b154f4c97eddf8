"""Attempts as facts say them, summed by engine and hour: what stands beside an engine's counters.

An attempt that ran over an edge of an hour is in each hour that it touched, a day back at most.
"""

from collections.abc import Iterable

import polars as pl

from ledger.domain.metering.fact import Flag

HOUR_US = 3_600_000_000
DAY_HOURS = 24
COUNTS = ("requests", "unfinished", "input_over_edge", "output_over_edge")
_WIDE = pl.Int128
_UNFINISHED = int(Flag.INCOMPLETE | Flag.ESTIMATED)
_KEYS = ("engine_key_id", "hour")


def by_hour(facts: pl.DataFrame, *, since: int, until: int) -> pl.DataFrame:
    """COUNTS by `engine_key_id` and `hour` (µs of its start) of hours from that of `since` on,
    that begin before `until`; times of facts are in microseconds."""
    hour = pl.col("time") // HOUR_US
    first = pl.coalesce("started_at", "time") // HOUR_US
    attempts = facts.select(
        "engine_key_id",
        "flags",
        _sum("requests").alias("requests"),
        hour.alias("last"),
        first.alias("first"),
        input=_sum("uncached", "cache_read", "cache_write"),
        output=_sum("visible", "reasoning"),
    )
    over_edge = pl.col("first") < pl.col("last")
    ended = attempts.with_columns(hour="last")
    spread = attempts.filter(over_edge).with_columns(
        hour=pl.int_ranges(
            pl.max_horizontal("first", pl.col("last") - DAY_HOURS), pl.col("last") + 1
        )
    )
    unfinished = pl.col("flags") & _UNFINISHED != 0
    nothing = pl.lit(0, _WIDE)
    parts = [
        ended.select(
            *_KEYS,
            "requests",
            unfinished=pl.when(unfinished).then("requests").otherwise(nothing),
            input_over_edge=nothing,
            output_over_edge=nothing,
        ),
        spread.explode("hour").select(
            *_KEYS,
            requests=nothing,
            unfinished=nothing,
            input_over_edge="input",
            output_over_edge="output",
        ),
    ]
    hours = pl.concat(parts).with_columns(pl.col("hour") * HOUR_US)
    within = (pl.col("hour") >= since // HOUR_US * HOUR_US) & (pl.col("hour") < until)
    return added([hours.filter(within)])


def added(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The sums of parts together."""
    return pl.concat(parts).group_by(_KEYS).agg(pl.col(name).sum() for name in COUNTS)


def _sum(*names: str) -> pl.Expr:
    # Sums of hostile counts outgrow 64 bits.
    return pl.sum_horizontal(pl.lit(0, _WIDE) + pl.col(name) for name in names)
