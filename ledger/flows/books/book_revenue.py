"""Books revenue: charges become one entry per subscription, local hour and currency.

Revenue is booked when tokens were used, not when they are invoiced; an hour whose charges changed
is booked again by its difference.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial

from ledger.domain.books.booking import usage_accrued
from ledger.domain.books.journal import JournalEntry
from ledger.domain.entity import LegalEntity
from ledger.domain.money import EXACT, ZERO
from ledger.domain.parked import Part
from ledger.domain.period import HOUR, hour_start, hour_windows
from ledger.flows.parts import Due
from ledger.flows.stage import Stage, StageContext
from ledger.store.books.journal import book_entries
from ledger.store.connect import draw_batch_seq
from ledger.store.pricing import rating

Place = tuple[str, str, datetime, str]


async def _find(context: StageContext, again: Sequence[Part]) -> Due:
    changed = await rating.find_changed_charges(
        context.connection,
        entity_id=context.entity.entity_id,
        since_seq=context.last.batch_seq,
        batch_seq=context.cut_off.batch_seq,
    )
    zone, touched = context.entity.zone, [*changed, *again]
    hours = sorted({(customer, hour_start(moment, zone)) for customer, moment in touched})
    return Due(hours, partial(_book_hours, context))


async def _book_hours(context: StageContext, due: Sequence[Part]) -> int:
    connection, entity = context.connection, context.entity
    async with connection.transaction():
        found = await rating.sum_charges_to_book(
            connection,
            windows=[
                (customer, at) for customer, hour in due for at in hour_windows(hour, entity.zone)
            ],
            batch_seq=context.cut_off.batch_seq,
        )
        sums: dict[Place, Decimal] = defaultdict(lambda: ZERO)
        for charged in found:
            hour = hour_start(charged.window_start, entity.zone)
            place = (charged.customer_id, charged.subscription_id, hour, charged.currency)
            sums[place] = EXACT.add(sums[place], charged.amount)
        entries = [_entry(entity, place, amount) for place, amount in sorted(sums.items())]
        batch_seq = await draw_batch_seq(connection)
        return await book_entries(connection, entries, context.cut_off, batch_seq)


def _entry(entity: LegalEntity, place: Place, amount: Decimal) -> JournalEntry:
    customer_id, subscription_id, hour, currency = place
    return JournalEntry(
        entity_id=entity.entity_id,
        kind="revenue",
        natural_key=f"revenue:{customer_id}:{subscription_id}:{hour:%Y-%m-%dT%H:%MZ}:{currency}",
        booked_for=hour,
        description=f"Usage of {customer_id} in the hour",
        postings=usage_accrued(customer_id, amount, currency),
        customer_id=customer_id,
    )


book_revenue = Stage(
    name="book_revenue",
    about="Book what usage earned into the journal.",
    step=HOUR,
    chunk_parts=2_000,
    list_entities=rating.list_entities,
    find=_find,
)
