"""Turns extras of facts into rows: of each batch and meter one, and what they add to windows.

Invariant: quantities carry the sign of their fact, so that a sum over them is plain addition.
"""

from collections.abc import Iterator, Sequence
from datetime import date

import polars as pl

from ledger.domain.frames import only
from ledger.domain.metering.rows import as_time
from ledger.domain.metering.spread import window_of

EXTRA_COLUMNS = (
    *("stored_day", "batch_seq", "meter", "ordinals", "usage_key_ids", "times", "quantities"),
)
EXTRA_DELTA_COLUMNS = (
    *("customer_id", "usage_key_id", "window_start", "batch_seq", "meter", "quantity"),
)
_FACT = ("ordinal", "usage_key_id", "customer_id", "time", "sign")


def extra_moves(facts: pl.DataFrame, counted: pl.DataFrame | None) -> pl.DataFrame | None:
    """What facts with `sign` count of extras, each with its key and time; None for nothing."""
    if counted is None or not counted.height:
        return None
    moves = counted.join(only(facts, _FACT), on="ordinal")
    signed = moves.with_columns(quantity=pl.col("quantity") * pl.col("sign")).drop("sign")
    return signed.sort("meter", "ordinal")


def extra_rows(
    moves: pl.DataFrame, *, batch_seq: int, stored_day: date
) -> Iterator[Sequence[object]]:
    """Rows of usage_extra: of each meter one, with all facts that have it."""
    timed = moves.with_columns(as_time("time"))
    for (meter,), part in timed.group_by("meter", maintain_order=True):
        columns = ("ordinal", "usage_key_id", "time", "quantity")
        yield stored_day, batch_seq, meter, *(part[name].to_list() for name in columns)


def extra_delta_frame(moves: pl.DataFrame) -> pl.DataFrame:
    """Rows of extra_delta, but for their number in the stored order."""
    keys = ("customer_id", "usage_key_id", "window_start", "meter")
    summed = (
        moves.with_columns(window_of().alias("window_start"))
        .group_by(keys)
        .agg(pl.col("quantity").sum())
        .filter(pl.col("quantity") != 0)
    )
    return summed.sort("usage_key_id", "window_start", "meter").with_columns(
        as_time("window_start")
    )
