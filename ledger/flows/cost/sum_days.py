"""Keeps cost lines added up by local day of the entity: of a day once it is over, and its changes
from then on in the transaction that brings them."""

from collections.abc import Sequence
from datetime import datetime

from ledger.domain.cost.cost_day import DaySums, sum_days
from ledger.domain.period import Period, day_of, local_day, midnight
from ledger.flows.stage import StageContext
from ledger.store.cost import cost_days
from ledger.store.cost.cost_rows import CostChanges


async def sum_changed_days(
    context: StageContext, windows: Sequence[datetime], changes: CostChanges
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
    return sum_days(
        come=changes.allocations.lines,
        gone=changes.former.lines,
        standing=await cost_days.sum_standing(connection, entity_id=name, days=over),
        days={window: start for window, start in days.items() if start in told},
        over=over,
    )


def _over(context: StageContext, starts: set[datetime]) -> list[Period]:
    zone = context.entity.zone
    days = [local_day(day_of(start, zone), zone) for start in sorted(starts)]
    return [day for day in days if day.end <= context.now]
