"""Books revenue: charges become one entry per subscription, day of the entity and currency.

Revenue is booked when tokens were used, not when they are invoiced; a day whose charges changed
is booked again by its difference.
"""

from collections.abc import Sequence
from functools import partial

from ledger.domain.books.booking import usage_accrued
from ledger.domain.books.journal import JournalEntry
from ledger.domain.entity import LegalEntity
from ledger.domain.parked import Part
from ledger.domain.period import DAY
from ledger.flows.customer_days import customer_days, customer_periods
from ledger.flows.parts import Due
from ledger.flows.stage import Stage, StageContext
from ledger.store.books.journal import book_entries
from ledger.store.connect import draw_batch_seq
from ledger.store.pricing import rating
from ledger.store.pricing.rating import ChargedDay


async def _find(context: StageContext, again: Sequence[Part]) -> Due:
    changed = await rating.find_changed_charges(
        context.connection,
        entity=context.entity,
        since_seq=context.last.batch_seq,
        batch_seq=context.cut_off.batch_seq,
    )
    return Due(customer_days(changed, again, context.entity.zone), partial(_book_days, context))


async def _book_days(context: StageContext, days: Sequence[Part]) -> int:
    connection, entity = context.connection, context.entity
    async with connection.transaction():
        found = await rating.sum_charges_to_book(
            connection,
            periods=customer_periods(days, entity.zone),
            batch_seq=context.cut_off.batch_seq,
        )
        entries = [_entry(entity, one) for one in found]
        batch_seq = await draw_batch_seq(connection)
        return await book_entries(connection, entries, context.cut_off, batch_seq)


def _entry(entity: LegalEntity, day: ChargedDay) -> JournalEntry:
    place = f"{day.customer_id}:{day.subscription_id}:{day.day_start:%Y-%m-%dT%H:%MZ}"
    return JournalEntry(
        entity_id=entity.entity_id,
        kind="revenue",
        natural_key=f"revenue:{place}:{day.currency}",
        booked_for=day.day_start,
        description=f"Usage of {day.customer_id} in the day",
        postings=usage_accrued(day.customer_id, day.amount, day.currency),
        customer_id=day.customer_id,
    )


book_revenue = Stage(
    name="book_revenue",
    about="Book what usage earned into the journal.",
    step=DAY,
    chunk_parts=2_000,
    list_entities=rating.list_entities,
    find=_find,
)
