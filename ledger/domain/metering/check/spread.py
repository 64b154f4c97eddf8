"""Turns attempts into the windows they were worked on in, in numbers of 128 bits.

Invariant: the rule is `apportion.cumulative_split`, written anew: what ingest spreads with is not
what proves it.
"""

import polars as pl

from ledger.domain.metering.fact import Kind
from ledger.domain.period import WINDOW_SECONDS

_WINDOW_US = WINDOW_SECONDS * 1_000_000
_INPUT = ("uncached", "cache_read", "cache_write")
WORK = (*_INPUT, "output")
_KEYS = ("engine_key_id", "usage_key_id")
WIDE = pl.Int128


def worked_windows(facts: pl.DataFrame) -> pl.DataFrame:
    """Signed work by engine key, usage key and window of each fact: input first, then output."""
    bits = _bits(facts)
    sign = pl.when(pl.col("kind") == int(Kind.REVERSAL)).then(-1).otherwise(1).cast(bits)
    known = pl.col("started_at").is_not_null()
    end = pl.when(known).then(pl.coalesce("ended_at", "time")).otherwise("time")
    spans = facts.select(
        *_KEYS,
        *(pl.col(name).cast(bits) * sign for name in _INPUT),
        output=(pl.col("visible").cast(bits) + pl.col("reasoning").cast(bits)) * sign,
        sign=sign,
        end=end,
        start=pl.min_horizontal(pl.coalesce("started_at", "time"), end),
        first=pl.when(known).then("first_token_at"),
    )
    inside = (pl.col("start") <= pl.col("first")) & (pl.col("first") <= pl.col("end"))
    spans = spans.with_columns(
        read=pl.when(inside).then("first").otherwise("end"),
        wrote=pl.when(inside).then("first").otherwise("start"),
    )
    legs = [
        _leg(spans, _INPUT, "start", "read", bits),
        _leg(spans, ("output",), "wrote", "end", bits),
    ]
    summed = pl.concat(legs).group_by(*_KEYS, "window_start").agg(pl.sum(*WORK))
    return summed.with_columns(pl.col(*WORK).cast(WIDE))


def _bits(facts: pl.DataFrame) -> type[pl.Int64 | pl.Int128]:
    """64 bits where neither a sum of counts nor a count times microseconds can wrap in them, which
    are a fraction of the work of 128."""
    if not facts.height:
        return pl.Int64
    counts = facts.select(*_INPUT, "visible", "reasoning")
    edges = counts.min().row(0) + counts.max().row(0)
    times = facts.select("time", "started_at", "first_token_at", "ended_at")
    moments = [at for at in times.min().row(0) + times.max().row(0) if at is not None]
    # An output is two counts.
    most = 2 * max(abs(int(edge)) for edge in edges)
    reached = max(moments) - min(moments) + _WINDOW_US
    return pl.Int64 if most * max(reached, facts.height) < 2**63 else WIDE


def _leg(
    spans: pl.DataFrame,
    names: tuple[str, ...],
    since: str,
    until: str,
    bits: type[pl.Int64 | pl.Int128],
) -> pl.DataFrame:
    """These counts over the windows of [since, until); an empty span lies at its start."""
    lowest, highest = pl.col(since), pl.max_horizontal(since, pl.col(until) - 1)
    reached = spans.select(
        *_KEYS,
        *names,
        "sign",
        since=lowest,
        length=(pl.col(until) - lowest).cast(bits),
        window=pl.int_ranges(lowest // _WINDOW_US, highest // _WINDOW_US + 1),
    ).explode("window")
    begun = (pl.col("window") * _WINDOW_US - pl.col("since")).clip(lower_bound=0).cast(bits)
    done = pl.min_horizontal(
        ((pl.col("window") + 1) * _WINDOW_US - pl.col("since")).cast(bits), "length"
    )
    empty = pl.col("length") <= 0
    # Of an empty span nothing is divided: its length would be the divisor.
    divisor = pl.when(empty).then(pl.lit(1, bits)).otherwise("length")
    shares = [
        pl.when(empty)
        .then(name)
        .otherwise(pl.col(name) * done // divisor - pl.col(name) * begun // divisor)
        .mul(pl.col("sign"))
        .cast(bits)
        .alias(name)
        for name in names
    ]
    others = [pl.lit(0, bits).alias(name) for name in WORK if name not in names]
    placed = reached.with_columns(*shares, *others, window_start=pl.col("window") * _WINDOW_US)
    return placed.select(*_KEYS, "window_start", *WORK)
