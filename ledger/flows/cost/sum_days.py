"""Keeps cost lines and pools added up by local day of the entity, and meters by day of UTC: of a
day once it is over, and its changes from then on in the transaction that brings them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from ledger.domain.cost.cost_day import DaySums, sum_days
from ledger.domain.cost.whole_days import (
    MeterDay,
    MeterSums,
    days_about,
    meter_days,
    pool_days,
    utc_day,
)
from ledger.domain.period import DAY, Period, day_of, local_day, midnight
from ledger.flows.stage import StageContext
from ledger.store.cost import cost_days
from ledger.store.cost.cost_rows import CostChanges


async def sum_changed_days(
    context: StageContext, windows: Sequence[datetime], gpus: Sequence[str], changes: CostChanges
) -> DaySums:
    """What changes of some windows, in order, add to days that are added up, and all of those that
    are over since: of these windows, and the last one with cost before them."""
    connection, name, zone = context.connection, context.entity.entity_id, context.entity.zone
    days = {window: midnight(day_of(window, zone), zone) for window in windows}
    starts = set(days.values())
    before = await cost_days.find_window_before(connection, entity_id=name, before=days[windows[0]])
    if before is not None:
        starts.add(midnight(day_of(before, zone), zone))
    known = await cost_days.find_days(connection, entity_id=name, days=starts)
    over = _over(context, starts - known)
    told = known | {day.start for day in over}
    days = {window: start for window, start in days.items() if start in told}
    sums = sum_days(
        come=changes.allocations.lines,
        gone=changes.former.lines,
        standing=await cost_days.sum_standing(connection, entity_id=name, days=over),
        days=days,
        over=over,
    )
    # Of a day without lines nothing is told.
    begun = {day.start for day in sums.begun}
    return replace(
        sums,
        pools=pool_days(
            await cost_days.sum_standing_pools(connection, entity_id=name, days=sums.begun),
            ((key, pool) for key, _, pool in changes.pools),
            changes.pools_before,
            {window: start for window, start in days.items() if start in known | begun},
        ),
        meters=await _sum_meters(context, windows, gpus, changes),
    )


async def _sum_meters(
    context: StageContext, windows: Sequence[datetime], gpus: Sequence[str], changes: CostChanges
) -> dict[MeterDay, MeterSums]:
    connection = context.connection
    days = days_about((windows[0], windows[-1]))
    known = await cost_days.find_meter_days(connection, gpu_uuids=gpus, days=days)
    over = [day for day in days if day + DAY <= context.now]
    day_of = {window: utc_day(window) for window in windows}
    moved = {(gpu, day_of[window]) for (gpu, window), _, _ in changes.meters}
    fresh = {(gpu, day) for gpu in gpus for day in over} - known
    standing = await cost_days.sum_standing_meters(connection, fresh)
    begun = {key: standing.get(key, MeterSums()) for key in fresh & {*standing, *moved}}
    come = ((key, window) for key, _, window in changes.meters)
    return meter_days(begun, come, changes.meters_before, {*known, *begun})


def _over(context: StageContext, starts: set[datetime]) -> list[Period]:
    zone = context.entity.zone
    days = [local_day(day_of(start, zone), zone) for start in sorted(starts)]
    return [day for day in days if day.end <= context.now]
