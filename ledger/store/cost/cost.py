"""Reads what a factory costs and what ran on it, and writes pools and cost lines."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import asyncpg

from ledger.domain.cost.deployment import Deployment, EngineKey
from ledger.domain.cost.factory import AssetTerms, GpuHome, PowerPrice, SiteUplift
from ledger.domain.entity import LegalEntity
from ledger.store.copying import copy_rows
from ledger.store.queries import Connection, load_queries, with_counts

COST = load_queries("cost/cost")
Span: TypeAlias = tuple[datetime, datetime | None]


@asynccontextmanager
async def running(connection: Connection, stage: str) -> AsyncIterator[None]:
    """Wait until no other session runs this stage, and keep others out until left."""
    await COST["lock_stage"].value(connection, stage=stage)
    try:
        yield
    finally:
        # Of a connection that is gone the lock is gone as well.
        if not connection.is_closed():
            await COST["unlock_stage"].value(connection, stage=stage)


async def list_cost_entities(connection: Connection, *, entity_id: str | None) -> list[LegalEntity]:
    """Entities with hardware or deployments, or the one named if it has any."""
    rows = await COST["list_cost_entities"].rows(connection, entity_id=entity_id)
    return [LegalEntity(**row) for row in rows]


@dataclass(frozen=True, slots=True)
class LastRun:
    """How far a stage has come: in the stored order (0 before any run), and along the clock."""

    batch_seq: int = 0
    followed_to: datetime | None = None


async def find_last_run(connection: Connection, *, stage: str, entity_id: str) -> LastRun:
    """How far a stage has come for an entity."""
    row = await COST["find_last_run"].row(connection, stage=stage, entity_id=entity_id)
    return LastRun(row["batch_seq"], row["followed_to"]) if row else LastRun()


async def add_stage_run(
    connection: Connection,
    *,
    stage: str,
    entity_id: str | None,
    cut_off_id: int,
    windows: int,
    rows: int,
    followed_to: datetime | None = None,
) -> None:
    """Keep how far a stage has come; without an entity it is of all of them."""
    await COST["add_stage_run"].run(
        connection,
        stage=stage,
        entity_id=entity_id,
        cut_off_id=cut_off_id,
        followed_to=followed_to,
        windows=windows,
        rows=rows,
    )


async def find_assets(
    connection: Connection,
    *,
    entity_id: str,
    since: datetime,
    until: datetime,
    batch_seq: int,
) -> list[AssetTerms]:
    """Terms of the hardware an entity has or deploys on."""
    rows = await COST["find_assets"].rows(
        connection, entity_id=entity_id, since=since, until=until, batch_seq=batch_seq
    )
    return [AssetTerms(**row) for row in rows]


async def find_deployments(
    connection: Connection, *, since: datetime, until: datetime, batch_seq: int
) -> list[Deployment]:
    """Deployments of every entity."""
    rows = await COST["find_deployments"].rows(
        connection, since=since, until=until, batch_seq=batch_seq
    )
    return [_deployment(row) for row in rows]


def _deployment(row: asyncpg.Record) -> Deployment:
    values = dict(row)
    values["gpu_uuids"] = tuple(row["gpu_uuids"])
    values["engine_instances"] = tuple(row["engine_instances"])
    return Deployment(**values)


async def find_gpu_homes(connection: Connection, *, batch_seq: int) -> dict[str, GpuHome]:
    """Whose each GPU is that any deployment ever named."""
    rows = await COST["find_gpu_homes"].rows(connection, batch_seq=batch_seq)
    return {row["gpu_uuid"]: GpuHome(**row) for row in rows}


async def find_facilities(connection: Connection, *, entity_id: str) -> dict[str, str]:
    """The sites an entity uses, each with its time zone."""
    rows = await COST["find_facilities"].rows(connection, entity_id=entity_id)
    return {row["facility_id"]: row["zone"] for row in rows}


async def find_pues(
    connection: Connection,
    *,
    facility_ids: Iterable[str],
    since: datetime,
    until: datetime,
    batch_seq: int,
) -> list[SiteUplift]:
    """Host power and PUE of sites."""
    rows = await COST["find_pues"].rows(
        connection, facility_ids=list(facility_ids), since=since, until=until, batch_seq=batch_seq
    )
    return [SiteUplift(**row) for row in rows]


async def find_tariff_prices(
    connection: Connection,
    *,
    facility_ids: Iterable[str],
    since: datetime,
    until: datetime,
    batch_seq: int,
) -> list[PowerPrice]:
    """Prices of power at sites, by site and time."""
    rows = await COST["find_tariff_prices"].rows(
        connection, facility_ids=list(facility_ids), since=since, until=until, batch_seq=batch_seq
    )
    return [PowerPrice(**row) for row in rows]


async def find_changed_inputs(
    connection: Connection, *, entity_id: str, since_seq: int, batch_seq: int
) -> list[Span]:
    """Merged periods of the slow facts that became known, or ceased to be, after `since_seq`."""
    rows = await COST["find_changed_inputs"].rows(
        connection, entity_id=entity_id, since_seq=since_seq, batch_seq=batch_seq
    )
    return [(row["valid_from"], row["valid_to"]) for row in rows]


async def find_hardware_periods(
    connection: Connection, *, entity_id: str, batch_seq: int
) -> list[Span]:
    """Merged periods in which an entity has hardware or deployments."""
    rows = await COST["find_hardware_periods"].rows(
        connection, entity_id=entity_id, batch_seq=batch_seq
    )
    return [(row["valid_from"], row["valid_to"]) for row in rows]


async def find_costing_periods(
    connection: Connection, *, entity_id: str, batch_seq: int
) -> list[Span]:
    """Merged periods in which an entity's hardware costs something even while it is silent."""
    rows = await COST["find_costing_periods"].rows(
        connection, entity_id=entity_id, batch_seq=batch_seq
    )
    return [(row["valid_from"], row["valid_to"]) for row in rows]


async def find_eventful_windows(
    connection: Connection, *, entity_id: str, since: datetime, until: datetime, batch_seq: int
) -> list[datetime]:
    """Windows of [since, until) in which somebody worked, or the entity has costs that stand."""
    rows = await COST["find_eventful_windows"].rows(
        connection, entity_id=entity_id, since=since, until=until, batch_seq=batch_seq
    )
    return [row["window_start"] for row in rows]


async def find_touched_activity(
    connection: Connection, *, since_seq: int, batch_seq: int
) -> list[datetime]:
    """Windows whose activity changed after `since_seq`."""
    rows = await COST["find_touched_activity"].rows(
        connection, since_seq=since_seq, batch_seq=batch_seq
    )
    return [row["window_start"] for row in rows]


async def find_activity(
    connection: Connection, *, windows: Sequence[datetime], batch_seq: int
) -> list[dict[str, Any]]:
    """Tokens worked on: window_start, engine_key_id, usage_key_id, entity_id and four counts."""
    rows = await COST["find_activity"].rows(connection, windows=list(windows), batch_seq=batch_seq)
    return with_counts(rows, ("uncached", "cache_read", "cache_write", "output"))


async def find_masks(
    connection: Connection, *, windows: Sequence[datetime], batch_seq: int
) -> dict[tuple[datetime, int], int]:
    """Busy seconds by (window, engine key), as masks whose bit n is second n."""
    rows = await COST["find_masks"].rows(connection, windows=list(windows), batch_seq=batch_seq)
    return {
        (row["window_start"], row["engine_key_id"]): row["mask"].to_int(bitorder="little")
        for row in rows
    }


async def find_engine_keys(
    connection: Connection, *, engine_key_ids: Iterable[int]
) -> dict[int, EngineKey]:
    """Where usage ran, by id."""
    rows = await COST["find_engine_keys"].rows(connection, engine_key_ids=list(engine_key_ids))
    return {row["engine_key_id"]: EngineKey(**row) for row in rows}


async def find_pools(
    connection: Connection, *, entity_id: str, windows: Sequence[datetime]
) -> list[asyncpg.Record]:
    """Cost pools as they stand, with their revision."""
    return await COST["find_pools"].rows(connection, entity_id=entity_id, windows=list(windows))


async def find_allocations(
    connection: Connection, *, entity_id: str, windows: Sequence[datetime]
) -> list[asyncpg.Record]:
    """Cost lines as they stand, with their revision."""
    return await COST["find_allocations"].rows(
        connection, entity_id=entity_id, windows=list(windows)
    )


async def append_rows(
    connection: Connection, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> int:
    """Append derived rows by COPY; how many."""
    if rows:
        await copy_rows(connection, table, columns, rows)
    return len(rows)


async def find_changed_costs(
    connection: Connection, *, entity_id: str, since_seq: int, batch_seq: int
) -> list[datetime]:
    """Windows whose cost lines were revised after `since_seq`."""
    rows = await COST["find_changed_costs"].rows(
        connection, entity_id=entity_id, since_seq=since_seq, batch_seq=batch_seq
    )
    return [row["window_start"] for row in rows]


async def sum_costs_to_book(
    connection: Connection, *, entity_id: str, windows: Sequence[datetime], batch_seq: int
) -> list[asyncpg.Record]:
    """Cost per window, currency, kind of line and hardware terms."""
    return await COST["sum_costs_to_book"].rows(
        connection, entity_id=entity_id, windows=list(windows), batch_seq=batch_seq
    )
