"""Reads and appends sums of cost lines by local day."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import polars as pl

from ledger.domain.apportion import units_of
from ledger.domain.cost.allocation import COSTS
from ledger.domain.cost.cost_day import DAY_KEY, DAY_LINE, DaySums
from ledger.domain.cost.cost_line import AMOUNTS
from ledger.domain.period import Period
from ledger.store.binary import Rows
from ledger.store.connect import CutOff
from ledger.store.copying import copy_binary, copy_rows
from ledger.store.queries import Connection, load_queries

COST_DAYS = load_queries("cost/cost_days")
DAY_COLUMNS = ("entity_id", "day_start", "day_end", "cut_off_id", "batch_seq")
LINE_COLUMNS = (*DAY_LINE, "entity_id", "cut_off_id", "batch_seq")


async def find_window_before(
    connection: Connection, *, entity_id: str, before: datetime
) -> datetime | None:
    """The last window before a time in which an entity has cost lines."""
    last: datetime | None = await COST_DAYS["find_window_before"].value(
        connection, entity_id=entity_id, before=before
    )
    return last


async def find_days(
    connection: Connection, *, entity_id: str, days: Iterable[datetime]
) -> set[datetime]:
    """Which of some local days, by their starts, are added up."""
    rows = await COST_DAYS["find_days"].rows(connection, entity_id=entity_id, days=list(days))
    return {row["day_start"] for row in rows}


async def sum_standing(
    connection: Connection, *, entity_id: str, days: Sequence[Period]
) -> pl.DataFrame:
    """What lines of some days come to as they stand, as DAY_LINE has it."""
    rows = await COST_DAYS["sum_days"].rows(
        connection,
        entity_id=entity_id,
        sinces=[day.start for day in days],
        untils=[day.end for day in days],
    )
    said = {name: [row[name] for row in rows] for name in DAY_KEY}
    said |= {name: [units_of(row[name]) for row in rows] for name in COSTS}
    # PostgreSQL adds whole numbers up as numeric.
    said |= {name: [int(row[name]) for row in rows] for name in AMOUNTS if name not in COSTS}
    return pl.DataFrame(said, DAY_LINE)


async def append_days(
    connection: Connection, sums: DaySums, *, entity_id: str, cut_off: CutOff, batch_seq: int
) -> None:
    """Store what is added to days, and which days begin with it."""
    stamp = (cut_off.cut_off_id, batch_seq)
    begun = [(entity_id, day.start, day.end, *stamp) for day in sums.begun]
    if begun:
        await copy_rows(connection, "cost_day", DAY_COLUMNS, begun)
    if not sums.lines.is_empty():
        lines = sums.lines.with_columns(
            entity_id=pl.lit(entity_id), cut_off_id=pl.lit(cut_off.cut_off_id, pl.Int64)
        )
        encoded = Rows.of(lines, LINE_COLUMNS)
        encoded.number(batch_seq)
        await copy_binary(connection, "cost_day_line", encoded)
