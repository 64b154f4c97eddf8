"""Lets cost lines of usage go whose days are added up and booked: days say what they come to, and
whoever asks for their windows has them made again, so that first it is made sure that they can be.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

from ledger.domain.parked import Part
from ledger.domain.period import DAY
from ledger.flows.cost.recall import make_again
from ledger.flows.parts import Due
from ledger.flows.stage import Stage, StageContext
from ledger.store.cost import cost
from ledger.store.cost.allocations import (
    ThinDay,
    find_allocated,
    find_days_to_thin,
    let_lines_go,
)


async def _find(context: StageContext, _: Sequence[Part]) -> Due:
    days = await find_days_to_thin(context.connection, entity_id=context.entity.entity_id)
    by_start = {day.day_start: day for day in days}
    return Due([("", start) for start in by_start], partial(_let_go, context, by_start))


async def _let_go(
    context: StageContext, days: Mapping[datetime, ThinDay], parts: Sequence[Part]
) -> int:
    connection, entity, gone = context.connection, context.entity, 0
    for _, start in parts:
        day = days[start]
        async with connection.transaction(isolation="repeatable_read"):
            standing = await find_allocated(
                connection, entity.entity_id, [day.period], day.booked_seq
            )
            async for _ in make_again(connection, entity, standing):
                pass
            gone += await let_lines_go(connection, entity_id=entity.entity_id, day=day)
    return gone


thin = Stage(
    name="thin",
    step=DAY,
    chunk_parts=1,
    list_entities=cost.list_cost_entities,
    find=_find,
)
