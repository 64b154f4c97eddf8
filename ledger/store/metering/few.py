"""Writes what a small batch brings, all its tables in one statement.

A COPY takes two ways to the database and back, and a batch of a few events would have one a table.
"""

from collections.abc import Mapping, Sequence

import polars as pl

from ledger.domain.metering.receipts import RECEIPT_COLUMNS
from ledger.domain.metering.rows import (
    ACTIVITY_DELTA_COLUMNS,
    FACT_COLUMNS,
    USAGE_DELTA_COLUMNS,
    USAGE_MARK_COLUMNS,
)
from ledger.store.queries import Connection, load_queries

FEW = load_queries("metering/few")
_SAID_ONCE = ("stored_day", "batch_seq")
# What each table's rows are called in the statement.
_COLUMNS: Mapping[str, Sequence[str]] = {
    "usage_fact": FACT_COLUMNS,
    "usage_delta": USAGE_DELTA_COLUMNS,
    "usage_mark": USAGE_MARK_COLUMNS,
    "activity": ACTIVITY_DELTA_COLUMNS,
    "activity_mask": ("engine_key_id", "window_start", "mask"),
}


async def insert_few(
    connection: Connection,
    tables: Mapping[str, pl.DataFrame],
    *,
    stored_day: object,
    batch_seq: int,
) -> None:
    """Store frames of the rows of some tables, by table, under a batch's number."""
    listed = {
        f"{table}_{name}": _listed(tables.get(table), name)
        for table, columns in _COLUMNS.items()
        for name in columns
        if name not in _SAID_ONCE
    }
    await FEW["insert_few"].run(connection, stored_day=stored_day, batch_seq=batch_seq, **listed)


def _listed(frame: pl.DataFrame | None, name: str) -> list[object]:
    if frame is None:
        return []
    column = frame[name]
    # Times go as whole numbers: to make an object of each takes longer than all the rest.
    return (column.cast(pl.Int64) if column.dtype == pl.Datetime else column).to_list()


async def insert_receipts(connection: Connection, receipts: Sequence[Sequence[object]]) -> None:
    """Store rows in the order of RECEIPT_COLUMNS, at least one."""
    columns = zip(RECEIPT_COLUMNS, zip(*receipts, strict=True), strict=True)
    await FEW["insert_receipts"].run(connection, **{name: list(said) for name, said in columns})
