"""Turns facts of runs of agents into what each run used in each window, and who started it.

Invariant: sums carry the facts' signs, so that a correction and what it replaces come out even.
"""

from collections.abc import Sequence

import polars as pl

from ledger.domain.metering.rows import as_time
from ledger.domain.metering.spread import METERS, window_of

_COUNTS = ("requests", *METERS)
_KEYS = ("customer_id", "agent_run_id", "usage_key_id")
_SAID = {"agent_parent_id": pl.String, "agent_parent_run_id": pl.String, "agent_step": pl.Int64}
_TIMES = ("time", "started_at")
AGENT_RUN_COLUMNS = (
    *(*_KEYS, "window_start", "batch_seq", *_COUNTS, "meter", "quantity"),
    *("parent_agent_id", "parent_run_id", "step", "first_at", "last_at"),
)


def agent_run_frame(
    facts: Sequence[pl.DataFrame], extras: pl.DataFrame | None = None
) -> pl.DataFrame | None:
    """Rows of agent_run_delta, but for their number in the stored order; None where no fact of a
    known customer names a run.

    From frames of facts with `sign`; those that were stored before do not say who started it.
    `extras` are what of them facts count, by ordinal: a row of its own for each meter.
    """
    of_runs = [each for frame in facts if (each := _of_runs(frame)) is not None]
    if not of_runs:
        return None
    stands = pl.col("sign") > 0
    moved = pl.concat(of_runs)
    summed = (
        moved.group_by(*_KEYS, window_of().alias("window_start"))
        .agg(
            *((pl.col(name) * pl.col("sign")).sum() for name in _COUNTS),
            pl.col("agent_parent_id").drop_nulls().max().alias("parent_agent_id"),
            pl.col("agent_parent_run_id").drop_nulls().max().alias("parent_run_id"),
            pl.col("agent_step").max().alias("step"),
            pl.min_horizontal(*_TIMES).filter(stands).min().alias("first_at"),
            pl.col("time").filter(stands).max().alias("last_at"),
        )
        .with_columns(meter=pl.lit(None, pl.String), quantity=pl.lit(0, pl.Int64))
    )
    if extras is not None:
        summed = pl.concat([summed, _of_extras(moved, extras)], how="diagonal")
    summed = summed.sort(*_KEYS, "window_start", "meter")
    times = [as_time(name) for name in ("window_start", "first_at", "last_at")]
    return summed.with_columns(*times)


def _of_extras(moved: pl.DataFrame, extras: pl.DataFrame) -> pl.DataFrame:
    """What runs counted of each meter of extras, with no tokens."""
    return (
        moved.join(extras, on="ordinal")
        .group_by(*_KEYS, window_of().alias("window_start"), "meter")
        .agg((pl.col("quantity") * pl.col("sign")).sum())
        .filter(pl.col("quantity") != 0)
        .with_columns(pl.lit(0, pl.Int64).alias(name) for name in _COUNTS)
    )


def _of_runs(frame: pl.DataFrame) -> pl.DataFrame | None:
    named = frame["agent_run_id"]
    if named.null_count() == len(named):
        return None
    of_runs = frame.filter(
        pl.col("agent_run_id").is_not_null() & pl.col("customer_id").is_not_null()
    )
    absent = {name: dtype for name, dtype in _SAID.items() if name not in frame.columns}
    lacking = [pl.lit(None, dtype).alias(name) for name, dtype in absent.items()]
    columns = (*_KEYS, *_TIMES, "ordinal", "sign", *_COUNTS, *_SAID)
    return of_runs.with_columns(lacking).select(columns) if of_runs.height else None
