"""Meter windows, pools and cost lines as they stand, and the revisions to append to them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from operator import attrgetter
from typing import Any, TypeAlias

from ledger.domain.cost.cost_day import DaySums
from ledger.domain.cost.cost_line import (
    Allocations,
    CostPool,
    MeterKey,
    MeterWindow,
    PoolKey,
    WindowCosts,
    next_allocations,
)
from ledger.domain.money import ZERO
from ledger.domain.period import WINDOW
from ledger.domain.revision import next_revisions
from ledger.store.connect import CutOff, draw_batch_seq
from ledger.store.cost import cost
from ledger.store.cost.allocations import append_allocations, find_allocations
from ledger.store.cost.cost_days import append_days
from ledger.store.energy import meter
from ledger.store.queries import Connection

STORED_LAST = 2**63 - 1
METER_VALUES = tuple(field.name for field in fields(MeterWindow))
POOL_VALUES = tuple(field.name for field in fields(CostPool))
METER_COLUMNS = ("gpu_uuid", "window_start", "revision", *METER_VALUES, "cut_off_id", "batch_seq")
POOL_COLUMNS = (
    *("scope", "window_start", "kind", "revision", *POOL_VALUES),
    *("cut_off_id", "batch_seq", "entity_id"),
)
Rows: TypeAlias = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class CostChanges:
    """What is to be appended, keys with their next revisions and values; `former` is what stood
    for `allocations` before, and so are `meters_before` and `pools_before`."""

    meters: Sequence[tuple[MeterKey, int, MeterWindow]]
    pools: Sequence[tuple[PoolKey, int, CostPool]]
    allocations: Allocations
    former: Allocations
    meters_before: Mapping[MeterKey, MeterWindow]
    pools_before: Mapping[PoolKey, CostPool]

    def __len__(self) -> int:
        return len(self.meters) + len(self.pools) + len(self.allocations.rows)


async def find_changes(
    connection: Connection,
    costs: WindowCosts,
    *,
    entity_id: str,
    windows: Sequence[datetime],
    meters: Collection[MeterKey],
    scopes: Sequence[str] | None,
) -> CostChanges:
    """What differs from the rows stored for these windows, of all scopes or some, and for `meters`
    of them; what ceased to apply becomes zero."""
    stored_meters = await _stored_meters(connection, windows, meters)
    stored_pools = await cost.find_pools(
        connection, entity_id=entity_id, windows=windows, scopes=scopes
    )
    stored = await find_allocations(connection, entity_id=entity_id, windows=windows, scopes=scopes)
    allocations, former = next_allocations(stored, costs.lines(), costs.by_kind())
    return CostChanges(
        meters=next_revisions(stored_meters, costs.meters, nothing=lambda _: MeterWindow(0, 0, 0)),
        pools=next_revisions(
            stored_pools, costs.pools, nothing=lambda pool: replace(pool, amount=ZERO)
        ),
        allocations=allocations,
        former=former,
        meters_before={key: window for key, (_, window) in stored_meters.items()},
        pools_before={key: pool for key, (_, pool) in stored_pools.items()},
    )


async def append_changes(
    connection: Connection, changes: CostChanges, days: DaySums, *, entity_id: str, cut_off: CutOff
) -> int:
    """Store the revisions and sums of days in one batch of this transaction; how many revisions."""
    if not (changes or days):
        return 0
    batch_seq = await draw_batch_seq(connection)
    stamp = (cut_off.cut_off_id, batch_seq)
    meters: Rows = [(*key, n, *_meter_values(value), *stamp) for key, n, value in changes.meters]
    await cost.append_rows(connection, "meter_window", METER_COLUMNS, meters)
    pools: Rows = [
        (*key, n, *_pool_values(value), *stamp, entity_id) for key, n, value in changes.pools
    ]
    await cost.append_rows(connection, "cost_pool", POOL_COLUMNS, pools)
    await append_allocations(
        connection,
        changes.allocations,
        entity_id=entity_id,
        cut_off=cut_off,
        batch_seq=batch_seq,
    )
    await append_days(connection, days, entity_id=entity_id, cut_off=cut_off, batch_seq=batch_seq)
    return len(changes)


async def _stored_meters(
    connection: Connection, windows: Sequence[datetime], meters: Collection[MeterKey]
) -> dict[MeterKey, tuple[int, MeterWindow]]:
    stored = await meter.find_meter_windows(
        connection,
        gpu_uuids=sorted({gpu for gpu, _ in meters}),
        since=min(windows),
        until=max(windows) + WINDOW,
        batch_seq=STORED_LAST,
    )
    return {
        (window.gpu_uuid, window.window_start): (
            window.revision,
            MeterWindow(window.metered_mj, window.estimated_mj, window.covered_s, window.findings),
        )
        for window in stored
        if (window.gpu_uuid, window.window_start) in meters
    }


_meter_values = attrgetter(*METER_VALUES)
_pool_values = attrgetter(*POOL_VALUES)
