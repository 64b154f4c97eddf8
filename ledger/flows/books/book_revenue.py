"""Books revenue: charges become one entry per day of the entity, by tier and model.

Revenue is booked when tokens were used, not when they are invoiced. Charges are differences, so
what was stored since a day was booked last is booked on top of it.
"""

from collections.abc import Sequence
from functools import partial

from ledger.domain.books.booking import usage_accrued
from ledger.domain.parked import Part
from ledger.domain.period import DAY, day_of, midnight
from ledger.flows.books.daily_entries import book_days, days_to_book
from ledger.flows.parts import Due
from ledger.flows.stage import Stage, StageContext
from ledger.store.memory import allow_memory
from ledger.store.pricing import rating
from ledger.store.queries import Connection

# Of so many rows of charges it is faster to read all keys of usage once than those that they name.
MANY_ROWS = 5_000


async def _find(context: StageContext, again: Sequence[Part]) -> Due:
    changed = await rating.count_changed_charges(
        context.connection,
        entity=context.entity,
        since_seq=context.last.batch_seq,
        batch_seq=context.cut_off.batch_seq,
    )
    zone = context.entity.zone
    days = {*changed, *(day_of(moment, zone) for _, moment in again)}
    book = partial(_book_days, context, sum(changed.values()) >= MANY_ROWS)
    return Due(
        [("", midnight(day, zone)) for day in sorted(days)],
        partial(book, context.connection),
        apart=len(days),
        store_beside=lambda other: partial(book, other),
    )


async def _book_days(
    context: StageContext, many: bool, connection: Connection, parts: Sequence[Part]
) -> int:
    days = days_to_book(context, "revenue", parts)
    async with connection.transaction():
        await (rating.join_by_hashes if many else allow_memory)(connection)
        earned = await rating.sum_charges_to_book(
            connection,
            entity_id=context.entity.entity_id,
            days=days,
            batch_seq=context.cut_off.batch_seq,
        )
        return await book_days(
            connection,
            context,
            days,
            {key: usage_accrued(of_day) for key, of_day in earned.items()},
            kind="revenue",
            description="Usage of the day",
        )


book_revenue = Stage(
    name="book_revenue",
    step=DAY,
    chunk_parts=1,
    list_entities=rating.list_entities,
    find=_find,
)
