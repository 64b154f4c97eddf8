"""Books cost: windows become one entry per day of the entity, what usage cost by tier and model.

Of a day that is booked, what its revised windows come to beyond what they did is booked on top.
"""

from collections.abc import Sequence
from functools import partial

from ledger.domain.books.booking import cost_accrued
from ledger.domain.parked import Part
from ledger.domain.period import DAY, day_of, midnight
from ledger.flows.books.daily_entries import book_days, days_to_book
from ledger.flows.parts import Due
from ledger.flows.stage import Stage, StageContext
from ledger.store.cost import cost


async def _find(context: StageContext, again: Sequence[Part]) -> Due:
    changed = await cost.find_changed_costs(
        context.connection,
        entity_id=context.entity.entity_id,
        since_seq=context.last.batch_seq,
        batch_seq=context.cut_off.batch_seq,
    )
    touched = [window for window in changed if window < context.now]
    touched += [moment for _, moment in again]
    zone = context.entity.zone
    days = sorted({midnight(day_of(moment, zone), zone) for moment in touched})
    return Due([("", day) for day in days], partial(_book_days, context))


async def _book_days(context: StageContext, parts: Sequence[Part]) -> int:
    connection = context.connection
    days = days_to_book(context, "cost", parts)
    async with connection.transaction():
        moved = await cost.sum_costs_to_book(
            connection,
            entity_id=context.entity.entity_id,
            days=days,
            batch_seq=context.cut_off.batch_seq,
        )
        return await book_days(
            connection,
            context,
            days,
            {key: cost_accrued(of_day) for key, of_day in moved.items()},
            kind="cost",
            description="Cost of the day: electricity and hardware",
        )


# Cost of windows that have not begun waits: only what began before `now` is booked.
book_cost = Stage(
    name="book_cost",
    step=DAY,
    chunk_parts=7,
    list_entities=cost.list_cost_entities,
    find=_find,
)
