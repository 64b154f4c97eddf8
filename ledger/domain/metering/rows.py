"""Turns frames into the rows of tables, in the order their columns are copied.

Invariant: a fact's counts carry its sign, so that a sum over facts is plain addition.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache, reduce
from hashlib import blake2b
from operator import or_
from typing import Any

import numpy as np
import polars as pl

from ledger.domain.frames import MANY_ROWS, keep_rows, only, repeated, rows_at, with_series
from ledger.domain.metering.fact import MARKS, Kind
from ledger.domain.metering.numbering import grouped
from ledger.domain.metering.spread import (
    METERS,
    WINDOW_US,
    activity_windows,
    busy_masks,
    moved,
    usage_windows,
    window_of,
)
from ledger.domain.period import EPOCH, MICROSECOND

FACT_COLUMNS = (
    *("stored_day", "lane", "batch_seq", "ordinal", "kind", "flags", "source_id"),
    *("usage_key_id", "engine_key_id", "time", "started_at", "first_token_at", "ended_at"),
    *("queue_ms", "requests", *METERS, "event_id", "agent_run_id", "end_user"),
)
USAGE_DELTA_COLUMNS = (
    *("customer_id", "usage_key_id", "window_start", "batch_seq", "requests"),
    *METERS,
)
USAGE_MARK_COLUMNS = ("customer_id", "usage_key_id", "window_start", "batch_seq", *MARKS)
_MARKED = int(reduce(or_, MARKS.values()))
ACTIVITY_DELTA_COLUMNS = (
    *("engine_key_id", "window_start", "usage_key_id", "batch_seq"),
    *("uncached", "cache_read", "cache_write", "output"),
)
READING_COLUMNS = (
    *("stored_day", "batch_seq", "ordinal", "source_id", "gpu_uuid", "epoch"),
    *("sampled_at", "energy_mj", "power_mw", "method", "quality"),
    *("boot_id", "driver_load", "monotonic_us", "scope"),
)
GAP_COLUMNS = (
    *("stored_day", "batch_seq", "ordinal", "source_id", "gpu_uuid", "reason"),
    *("since", "until", "detail"),
)
COUNTER_COLUMNS = (
    *("stored_day", "batch_seq", "ordinal", "source_id", "engine", "engine_instance"),
    *("run_id", "run_started_at", "scraped_at", "metric", "labels", "value", "precision_loss"),
)
PROVIDER_COST_COLUMNS = ("batch_seq", "ordinal", "amount", "currency")
_TIME = pl.Datetime("us", "UTC")
_FACT_TIMES = ("time", "started_at", "first_token_at", "ended_at")
# What a fact's frame holds before it is encoded: times in microseconds, counts without sign.
FACTS = (
    *("ordinal", "lane", "kind", "flags", "source_id", "usage_key_id", "engine_key_id"),
    *("customer_id", *_FACT_TIMES, "queue_ms", "requests", *METERS),
    *("event_id", "agent_run_id", "end_user", "sign"),
)
Rows = list[tuple[Any, ...]]


def fact_frame(facts: pl.DataFrame, *, stored_day: date) -> pl.DataFrame:
    """Rows of usage_fact, but for their number in the stored order.

    From a frame with `ordinal`, `kind`, `sign`, `source_id`, `lane`, `event_id`, `end_user`.
    """
    # Nearly always every fact counts as it is.
    is_signed = facts["sign"].min() != 1
    signed = [facts[n] * facts["sign"] for n in ("requests", *METERS)] if is_signed else []
    users = facts["end_user"]
    if users.null_count() < len(users):
        facts = facts.with_columns(pl.col("end_user").str.replace_all("-", "").str.decode("hex"))
    return with_series(facts, *signed, *_times(facts, _FACT_TIMES), _days(stored_day, facts.height))


def reverse(facts: pl.DataFrame, *, first_ordinal: int) -> pl.DataFrame:
    """The reversals of facts, numbered from `first_ordinal`."""
    return facts.with_columns(
        ordinal=pl.int_range(first_ordinal, first_ordinal + pl.len(), dtype=pl.Int32),
        kind=pl.lit(int(Kind.REVERSAL), pl.Int8),
        sign=-pl.col("sign"),
    )


def usage_delta_frame(moves: pl.DataFrame) -> pl.DataFrame:
    """Rows of usage_delta, but for their number in the stored order, from facts with `sign`."""
    return _timed(usage_windows(moves, ["customer_id"]))


def moved_frames(moves: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What moves windows, as far as one row each says it all, and activity beyond it, from facts
    with `sign`."""
    usage, activity = moved(moves)
    return _timed(usage), _timed(activity)


def usage_mark_frame(facts: pl.DataFrame) -> pl.DataFrame | None:
    """Rows of usage_mark, but for their number in the stored order; None where no fact is marked.

    From all facts of a batch with `flags` and `sign`: those undone in it come to nothing.
    """
    flags = facts["flags"].to_numpy()
    if not (flags & _MARKED).any():
        return None
    columns = ("customer_id", "usage_key_id", "time", "flags", "requests", "sign")
    marked = keep_rows(only(facts, columns), flags & _MARKED != 0)
    return _timed(_few_marks(marked) if marked.height < MANY_ROWS else _many_marks(marked))


def _few_marks(marked: pl.DataFrame) -> pl.DataFrame:
    windows = marked["time"].to_numpy() // WINDOW_US
    groups = grouped([marked["usage_key_id"].to_numpy(), windows])
    flags, requests = marked["flags"].to_numpy(), (marked["requests"] * marked["sign"]).to_numpy()
    sums = {
        name: groups.sums(np.where(flags & int(flag), requests, 0)) for name, flag in MARKS.items()
    }
    moved = np.any(list(sums.values()), axis=0)
    leads = groups.leads[moved]
    return with_series(
        rows_at(marked, ("customer_id", "usage_key_id"), leads),
        pl.Series("window_start", windows[leads] * WINDOW_US),
        *(pl.Series(name, values[moved]) for name, values in sums.items()),
    )


def _many_marks(marked: pl.DataFrame) -> pl.DataFrame:
    return (
        marked.lazy()
        .with_columns(window_of().alias("window_start"))
        .group_by("customer_id", "usage_key_id", "window_start")
        .agg(**_mark_sums())
        .filter(pl.any_horizontal(pl.col(name) != 0 for name in MARKS))
        .sort("usage_key_id", "window_start")
        .collect(optimizations=pl.QueryOptFlags.none())
    )


@cache
def _mark_sums() -> Mapping[str, pl.Expr]:
    requests = pl.col("requests") * pl.col("sign")
    return {
        name: pl.when(pl.col("flags") & int(flag) != 0).then(requests).otherwise(0).sum()
        for name, flag in MARKS.items()
    }


def activity_delta_frame(moves: pl.DataFrame) -> pl.DataFrame:
    """Rows of activity_delta, but for their number in the stored order, from facts with `sign`."""
    return _timed(activity_windows(moves))


def activity_mask_frame(worked: pl.DataFrame) -> pl.DataFrame:
    """Rows of activity_mask, but for their number in the stored order; the bits as octets."""
    masks = busy_masks(worked)
    octets = list(map(bytes, np.packbits(masks.seconds, axis=1)))
    frame = pl.DataFrame(
        [
            pl.Series("engine_key_id", masks.engine_key_ids),
            pl.Series("window_start", masks.windows),
            pl.Series("mask", octets, pl.Binary),
        ]
    )
    return _timed(frame)


def reading_frame(energy: pl.DataFrame, *, stored_day: date) -> pl.DataFrame:
    """Rows of gpu_reading, but for their number in the stored order."""
    return energy.with_columns(as_time("time").alias("sampled_at"), stored_day=pl.lit(stored_day))


def gap_frame(gaps: pl.DataFrame, *, stored_day: date) -> pl.DataFrame:
    """Rows of meter_gap, but for their number in the stored order."""
    return gaps.with_columns(
        as_time("since"), as_time("time").alias("until"), stored_day=pl.lit(stored_day)
    )


def counter_rows(counters: pl.DataFrame, *, batch_seq: int, stored_day: date) -> Rows:
    """Rows of counter_reading, one a value."""
    return [
        (
            *(stored_day, batch_seq, scrape["ordinal"], scrape["source_id"], scrape["engine"]),
            *(scrape["instance"], scrape["run_id"], known_moment(scrape["run_started_at"])),
            *(moment(scrape["time"]), name, labels, Decimal(value), lost),
        )
        for scrape in counters.iter_rows(named=True)
        for name, value, labels, lost in scrape["values"]
    ]


def provider_cost_rows(facts: pl.DataFrame, *, batch_seq: int) -> Rows:
    """Rows of provider_claim: what vendors say attempts cost."""
    if facts["cost_amount"].null_count() == facts.height:
        return []
    claimed = facts.filter(pl.col("cost_amount").is_not_null())
    columns = ("ordinal", "cost_amount", "cost_currency")
    return [
        (batch_seq, ordinal, Decimal(amount), currency)
        for ordinal, amount, currency in claimed.select(columns).iter_rows()
    ]


def _timed(windows: pl.DataFrame) -> pl.DataFrame:
    return with_series(windows, *_times(windows, ("window_start",)))


def _times(frame: pl.DataFrame, names: Sequence[str]) -> list[pl.Series]:
    """Columns of microseconds as times."""
    return [frame[name].cast(_TIME) for name in names]


def _days(day: date, rows: int) -> pl.Series:
    return repeated("stored_day", day, rows, pl.Date)


def as_time(name: str) -> pl.Expr:
    """A column of microseconds as times."""
    return pl.from_epoch(name, time_unit="us").dt.replace_time_zone("UTC").alias(name)


def moment(micros: int) -> datetime:
    """Microseconds as an aware time."""
    return EPOCH + micros * MICROSECOND


def known_moment(micros: int | None) -> datetime | None:
    """Microseconds as an aware time, or None."""
    return None if micros is None else moment(micros)


def hash_end_users(users: pl.Series, secret: bytes | None) -> pl.Series:
    """Hex of a keyed hash of each end user, or null: without a secret nothing is kept."""
    if secret is None or users.null_count() == len(users):
        return pl.Series(users.name, [None], pl.String).new_from_index(0, len(users))
    key = blake2b(secret, digest_size=32).digest()
    hashed = {
        user: blake2b(user.encode(), digest_size=16, key=key).hexdigest()
        for user in users.unique()
        if user is not None
    }
    return pl.Series(users.name, [hashed.get(user) for user in users], pl.String)
