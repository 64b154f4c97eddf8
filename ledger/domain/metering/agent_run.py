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
    *(*_KEYS, "window_start", "batch_seq", *_COUNTS),
    *("parent_agent_id", "parent_run_id", "step", "first_at", "last_at"),
)


def agent_run_frame(facts: Sequence[pl.DataFrame]) -> pl.DataFrame | None:
    """Rows of agent_run_delta, but for their number in the stored order; None where no fact of a
    known customer names a run.

    From frames of facts with `sign`; those that were stored before do not say who started it.
    """
    of_runs = [each for frame in facts if (each := _of_runs(frame)) is not None]
    if not of_runs:
        return None
    stands = pl.col("sign") > 0
    summed = (
        pl.concat(of_runs)
        .group_by(*_KEYS, window_of().alias("window_start"))
        .agg(
            *((pl.col(name) * pl.col("sign")).sum() for name in _COUNTS),
            pl.col("agent_parent_id").drop_nulls().max().alias("parent_agent_id"),
            pl.col("agent_parent_run_id").drop_nulls().max().alias("parent_run_id"),
            pl.col("agent_step").max().alias("step"),
            pl.min_horizontal(*_TIMES).filter(stands).min().alias("first_at"),
            pl.col("time").filter(stands).max().alias("last_at"),
        )
        .sort(*_KEYS, "window_start")
    )
    times = [as_time(name) for name in ("window_start", "first_at", "last_at")]
    return summed.with_columns(*times)


def _of_runs(frame: pl.DataFrame) -> pl.DataFrame | None:
    named = frame["agent_run_id"]
    if named.null_count() == len(named):
        return None
    of_runs = frame.filter(
        pl.col("agent_run_id").is_not_null() & pl.col("customer_id").is_not_null()
    )
    absent = {name: dtype for name, dtype in _SAID.items() if name not in frame.columns}
    lacking = [pl.lit(None, dtype).alias(name) for name, dtype in absent.items()]
    columns = (*_KEYS, *_TIMES, "sign", *_COUNTS, *_SAID)
    return of_runs.with_columns(lacking).select(columns) if of_runs.height else None
