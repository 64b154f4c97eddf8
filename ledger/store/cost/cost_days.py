"""Reads and appends sums of cost lines and pools by local day, and of meters by day of UTC."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

import polars as pl

from ledger.domain.apportion import units_of
from ledger.domain.cost.cost_day import DAY_KEY, DAY_LINE, DaySums
from ledger.domain.cost.cost_line import AMOUNTS
from ledger.domain.cost.share import COSTS
from ledger.domain.cost.whole_days import MeterDay, MeterSums, PoolDay, pool_rows
from ledger.domain.period import Period
from ledger.store.binary import Rows
from ledger.store.connect import CutOff
from ledger.store.copying import copy_binary, copy_rows
from ledger.store.queries import Connection, load_queries

COST_DAYS = load_queries("cost/cost_days")
DAY_COLUMNS = ("entity_id", "day_start", "day_end", "cut_off_id", "batch_seq")
POOL_COLUMNS = ("day_start", "kind", "currency", "amount", "entity_id", "cut_off_id", "batch_seq")
METER_COLUMNS = ("gpu_uuid", "day_start", *MeterSums._fields, "cut_off_id", "batch_seq")
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


async def sum_standing_pools(
    connection: Connection, *, entity_id: str, days: Sequence[Period]
) -> dict[PoolDay, int]:
    """What pools of some days come to as they stand, in 1e-12."""
    rows = await COST_DAYS["sum_pool_days"].rows(
        connection,
        entity_id=entity_id,
        sinces=[day.start for day in days],
        untils=[day.end for day in days],
    )
    return {
        (row["day_start"], row["kind"], row["currency"]): units_of(row["amount"]) for row in rows
    }


async def find_meter_days(
    connection: Connection, *, gpu_uuids: Iterable[str], days: Iterable[datetime]
) -> set[MeterDay]:
    """Of which days of UTC GPUs are added up."""
    rows = await COST_DAYS["find_meter_days"].rows(
        connection, gpu_uuids=list(gpu_uuids), days=list(days)
    )
    return {(row["gpu_uuid"], row["day_start"]) for row in rows}


async def sum_standing_meters(
    connection: Connection, days: Collection[MeterDay]
) -> dict[MeterDay, MeterSums]:
    """What windows of GPUs come to as they stand, by day of UTC; those without any are left out."""
    rows = await COST_DAYS["sum_meter_days"].rows(
        connection, gpu_uuids=[gpu for gpu, _ in days], days=[day for _, day in days]
    )
    return {
        (row["gpu_uuid"], row["day_start"]): MeterSums(*(int(row[n]) for n in MeterSums._fields))
        for row in rows
    }


async def append_days(
    connection: Connection, sums: DaySums, *, entity_id: str, cut_off: CutOff, batch_seq: int
) -> None:
    """Store what is added to days, and which days begin with it."""
    stamp = (cut_off.cut_off_id, batch_seq)
    pools = [(*row, entity_id, *stamp) for row in pool_rows(sums.pools)]
    if pools:
        await copy_rows(connection, "pool_day", POOL_COLUMNS, pools)
    meters = [(*key, *sums.meters[key], *stamp) for key in sorted(sums.meters)]
    if meters:
        await copy_rows(connection, "meter_day", METER_COLUMNS, meters)
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
