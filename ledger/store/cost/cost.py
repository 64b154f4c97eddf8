"""Reads what a factory costs and what ran on it, and writes pools and cost lines."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias, Unpack

import polars as pl

from ledger.domain.books.booking import CostTotals
from ledger.domain.cost.cost_line import CostPool, PoolKey
from ledger.domain.cost.deployment import Deployment, EngineKey
from ledger.domain.cost.factory import AssetTerms, EnergyMeter, GpuHome, PowerPrice, SiteUplift
from ledger.domain.cost.kinds import Four
from ledger.domain.cost.unseen import ACTIVITY
from ledger.domain.entity import LegalEntity
from ledger.domain.metering.spread import WORK
from ledger.domain.metering.times import micros
from ledger.domain.period import Period
from ledger.store.binary_read import INT8, TIME, read_columns
from ledger.store.copying import copy_out, copy_rows
from ledger.store.queries import Connection, load_queries
from ledger.store.within import Within

COST = load_queries("cost/cost")
_ACTIVITY_LAYOUT = {
    **{"window_start": TIME, "engine_key_id": INT8, "usage_key_id": INT8},
    **dict.fromkeys(WORK, INT8),
}
_INT8_MOST = 2**63 - 1
Span: TypeAlias = tuple[datetime, datetime | None]


class WindowActivity(NamedTuple):
    """Tokens of one usage key that one engine key worked on in a window."""

    window_start: datetime
    engine_key_id: int
    usage_key_id: int
    entity_id: str | None
    uncached: int
    cache_read: int
    cache_write: int
    output: int


async def list_cost_entities(connection: Connection, *, entity_id: str | None) -> list[LegalEntity]:
    """Entities with hardware or deployments, or the one named if it has any."""
    return await COST["list_cost_entities"].values(connection, LegalEntity, entity_id=entity_id)


async def find_received_at(connection: Connection, *, batch_seq: int) -> datetime | None:
    """When the last batch of events known at a cut-off was received, or until when nothing was;
    None before any."""
    received_at: datetime | None = await COST["find_received_at"].value(
        connection, batch_seq=batch_seq
    )
    return received_at


async def add_silence(connection: Connection, *, until: datetime) -> None:
    """Keep, as a batch of the stored order, that nothing was received until then."""
    await COST["add_silence"].run(connection, until=until)


async def find_unread_windows(
    connection: Connection,
    *,
    deployment_ids: Collection[str],
    windows: Sequence[datetime],
    batch_seq: int,
) -> set[datetime]:
    """Those of some windows, as they are allocated, in which a GPU of some deployments was not read
    all along, or its counter began again."""
    rows = await COST["find_unread_windows"].rows(
        connection,
        deployment_ids=sorted(deployment_ids),
        windows=list(windows),
        batch_seq=batch_seq,
    )
    return {row["window_start"] for row in rows}


async def find_asset_histories(
    connection: Connection, *, entity_id: str, until: datetime, batch_seq: int
) -> dict[str, list[AssetTerms]]:
    """All terms, up to a time, of the hardware an entity has or deploys on, oldest first."""
    known = await COST["find_assets"].values(
        connection, AssetTerms, entity_id=entity_id, until=until, batch_seq=batch_seq
    )
    return {name: list(rows) for name, rows in groupby(known, lambda terms: terms.asset_id)}


async def find_deployments(connection: Connection, **within: Unpack[Within]) -> list[Deployment]:
    """Deployments of every entity."""
    return await COST["find_deployments"].values(connection, Deployment, **within)


async def find_gpu_homes(connection: Connection, *, batch_seq: int) -> dict[str, GpuHome]:
    """Whose each GPU is that any deployment ever named."""
    homes = await COST["find_gpu_homes"].values(connection, GpuHome, batch_seq=batch_seq)
    return {home.gpu_uuid: home for home in homes}


async def find_facilities(connection: Connection, *, entity_id: str) -> dict[str, str]:
    """The sites an entity uses, each with its time zone."""
    rows = await COST["find_facilities"].rows(connection, entity_id=entity_id)
    return {row["facility_id"]: row["zone"] for row in rows}


async def find_pues(
    connection: Connection,
    *,
    facility_ids: Iterable[str],
    **within: Unpack[Within],
) -> list[SiteUplift]:
    """Host power and PUE of sites."""
    return await COST["find_pues"].values(
        connection, SiteUplift, facility_ids=list(facility_ids), **within
    )


async def find_energy_meters(
    connection: Connection, *, facility_ids: Iterable[str], **within: Unpack[Within]
) -> list[EnergyMeter]:
    """What meters of sites measure, and their calibration."""
    return await COST["find_energy_meters"].values(
        connection, EnergyMeter, facility_ids=list(facility_ids), **within
    )


async def find_tariff_prices(
    connection: Connection,
    *,
    facility_ids: Iterable[str],
    **within: Unpack[Within],
) -> list[PowerPrice]:
    """Prices of power at sites, by site and time."""
    return await COST["find_tariff_prices"].values(
        connection, PowerPrice, facility_ids=list(facility_ids), **within
    )


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


async def find_touched_engines(
    connection: Connection, *, windows: Collection[datetime], since_seq: int, batch_seq: int
) -> dict[datetime, set[int]]:
    """The engine keys whose activity of some windows changed after `since_seq`."""
    rows = await COST["find_touched_engines"].rows(
        connection, windows=list(windows), since_seq=since_seq, batch_seq=batch_seq
    )
    touched: dict[datetime, set[int]] = defaultdict(set)
    for row in rows:
        touched[row["window_start"]].add(row["engine_key_id"])
    return touched


async def find_activity(
    connection: Connection, *, windows: Sequence[datetime], batch_seq: int
) -> list[WindowActivity]:
    """Tokens worked on, by window, engine key and usage key."""
    return await COST["find_activity"].values(
        connection, WindowActivity, windows=list(windows), batch_seq=batch_seq
    )


async def sum_activity(
    connection: Connection,
    *,
    windows: Sequence[datetime],
    batch_seq: int,
    engine_key_ids: Collection[int] | None,
) -> dict[tuple[int, int], Four]:
    """Tokens worked on by window, in microseconds, and engine key, of all engine keys or some."""
    rows = await COST["sum_activity"].rows(
        connection,
        windows=list(windows),
        batch_seq=batch_seq,
        engine_key_ids=None if engine_key_ids is None else list(engine_key_ids),
    )
    return {
        (micros(window), engine): (int(uncached), int(cache_read), int(cache_write), int(output))
        for window, engine, uncached, cache_read, cache_write, output in rows
    }


async def read_activity(
    connection: Connection,
    *,
    windows: Sequence[datetime],
    batch_seq: int,
    engine_key_ids: Collection[int],
) -> pl.DataFrame:
    """What `find_activity` finds at some engine keys as columns, in microseconds and 128 bits."""
    asked = {
        "windows": list(windows),
        "batch_seq": batch_seq,
        "engine_key_ids": list(engine_key_ids),
    }
    octets = await copy_out(connection, COST["copy_activity"], **asked)
    frame = pl.DataFrame(read_columns(octets, _ACTIVITY_LAYOUT))
    if any((frame[name] == _INT8_MOST).any() for name in WORK):
        # There is no wider number of one width.
        rows = await find_activity(connection, windows=windows, batch_seq=batch_seq)
        said = [
            (micros(row[0]), row[1], row[2], *map(int, row[4:]))
            for row in rows
            if row.engine_key_id in engine_key_ids
        ]
        return pl.DataFrame(said, ACTIVITY, orient="row")
    return frame.cast(dict.fromkeys(WORK, pl.Int128))


async def find_masks(
    connection: Connection, *, windows: Sequence[datetime], batch_seq: int
) -> dict[tuple[datetime, int], int]:
    """Busy seconds by (window, engine key), as masks whose bit n is second n."""
    rows = await COST["find_masks"].rows(connection, windows=list(windows), batch_seq=batch_seq)
    return {
        (row["window_start"], row["engine_key_id"]): row["mask"].to_int(bitorder="little")
        for row in rows
    }


async def find_key_entities(
    connection: Connection, *, usage_key_ids: Iterable[int]
) -> dict[int, str | None]:
    """Whose customers' usage keys are, by id; None is of a customer nobody knows."""
    rows = await COST["find_key_entities"].rows(connection, usage_key_ids=list(usage_key_ids))
    return {row["usage_key_id"]: row["entity_id"] for row in rows}


async def find_engine_keys(
    connection: Connection, *, engine_key_ids: Iterable[int]
) -> dict[int, EngineKey]:
    """Where usage ran, by id."""
    keys = await COST["find_engine_keys"].values(
        connection, EngineKey, engine_key_ids=list(engine_key_ids)
    )
    return {key.engine_key_id: key for key in keys}


async def list_engine_keys(connection: Connection) -> list[EngineKey]:
    """Wherever usage ever ran."""
    return await COST["list_engine_keys"].values(connection, EngineKey)


async def find_pools(
    connection: Connection,
    *,
    entity_id: str,
    windows: Sequence[datetime],
    scopes: Sequence[str] | None,
) -> dict[PoolKey, tuple[int, CostPool]]:
    """(revision, value) of cost pools as they stand, of all scopes or some."""
    rows = await COST["find_pools"].rows(
        connection, entity_id=entity_id, windows=list(windows), scopes=scopes
    )
    return {
        (row["scope"], row["window_start"], row["kind"]): (
            row["revision"],
            CostPool(row["currency"], row["amount"]),
        )
        for row in rows
    }


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
    connection: Connection, *, entity_id: str, days: Mapping[str, Period], batch_seq: int
) -> dict[str, list[CostTotals]]:
    """What cost lines of an entity's days come to at a cut-off beyond what the journal entries of
    these natural keys have booked, by natural key."""
    moved: dict[str, list[CostTotals]] = defaultdict(list)
    for row in await COST["sum_costs_to_book"].rows(
        connection,
        entity_id=entity_id,
        natural_keys=list(days),
        sinces=[day.start for day in days.values()],
        untils=[day.end for day in days.values()],
        batch_seq=batch_seq,
    ):
        moved[row["natural_key"]].append(CostTotals(*_total_values(row)))
    return moved


_total_values = itemgetter(*(field.name for field in fields(CostTotals)))
