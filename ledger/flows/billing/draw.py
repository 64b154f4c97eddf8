"""Draws grants for what was charged: days change, and what grants paid of them is found anew.

What is stored of a day is made up to what it comes to now by differences, and so is the journal.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial

from ledger.domain.billing.grant import Draw, draw_changes, draw_down
from ledger.domain.books.booking import drawn, grant_expired
from ledger.domain.books.journal import JournalEntry
from ledger.domain.money import ZERO
from ledger.domain.parked import Part
from ledger.domain.period import DAY, day_of, midnight
from ledger.flows.parts import Due
from ledger.flows.stage import Stage, StageContext
from ledger.store.billing import grants as store
from ledger.store.billing.grants import CustomerCredit, ExpiredGrant
from ledger.store.books.journal import book_entries
from ledger.store.connect import draw_batch_seq
from ledger.store.pricing import rating


async def _find(context: StageContext, again: Sequence[Part]) -> Due:
    zone_name = context.entity.zone
    due = await store.list_due(
        context.connection,
        context.entity,
        since_seq=context.last.batch_seq,
        cut_off=context.cut_off,
        today=day_of(context.now, zone_name),
    )
    first: dict[str, datetime] = {}
    for customer_id, moment in (
        *((each.customer_id, midnight(each.day, zone_name)) for each in due),
        *((customer_id, midnight(day_of(at, zone_name), zone_name)) for customer_id, at in again),
    ):
        first[customer_id] = min(moment, first.get(customer_id, moment))
    return Due(sorted(first.items()), partial(_draw, context))


async def _draw(context: StageContext, parts: Sequence[Part]) -> int:
    connection, cut_off = context.connection, context.cut_off
    today = day_of(context.now, context.entity.zone)
    customers = [customer_id for customer_id, _ in parts]
    async with connection.transaction():
        batch_seq = await draw_batch_seq(connection)
        credit = await store.read_credit(connection, parts, batch_seq=cut_off.batch_seq)
        changes = [
            (customer_id, change)
            for customer_id in customers
            for change in _changes(credit[customer_id], context.entity.zone)
        ]
        rows = await store.insert_draws(
            connection,
            changes,
            entity_id=context.entity.entity_id,
            cut_off=cut_off,
            batch_seq=batch_seq,
        )
        more, expired = await store.expire_grants(
            connection, customers, today=today, cut_off=cut_off, batch_seq=batch_seq
        )
        entries = await _draw_entries(context, changes)
        entries += [_expiry_entry(context, each) for each in expired]
        await book_entries(connection, entries, cut_off, batch_seq)
        await store.note_events(
            connection, customers, today=today, now=context.now, batch_seq=batch_seq
        )
        return rows + more


def _changes(credit: CustomerCredit, zone_name: str) -> list[Draw]:
    uses = [(day_of(use.day_start, zone_name), use) for use in credit.uses]
    return draw_changes(draw_down(credit.grants, uses, credit.before), credit.stored)


async def _draw_entries(
    context: StageContext, changes: Sequence[tuple[str, Draw]]
) -> list[JournalEntry]:
    booked = await store.sum_draws_to_book(
        context.connection, [(customer_id, draw.day_start) for customer_id, draw in changes]
    )
    sums: dict[tuple[str, str, datetime, str], dict[str, Decimal]] = defaultdict(dict)
    for day in booked:
        key = (day.customer_id, day.subscription_id, day.day_start, day.currency)
        sums[key][day.kind] = day.amount
    return [
        JournalEntry(
            entity_id=context.entity.entity_id,
            kind="draw",
            natural_key=f"draw:{customer}:{subscription}:{day:%Y-%m-%dT%H:%MZ}:{currency}",
            booked_for=day,
            description=f"Grants drawn by {customer} in the day",
            postings=drawn(customer, amounts, currency),
            customer_id=customer,
        )
        for (customer, subscription, day, currency), amounts in sums.items()
    ]


def _expiry_entry(context: StageContext, grant: ExpiredGrant) -> JournalEntry:
    entity = context.entity
    return JournalEntry(
        entity_id=entity.entity_id,
        kind="expiry",
        natural_key=f"expiry:{entity.entity_id}:{grant.grant_id}",
        booked_for=midnight(grant.expires_on, entity.zone),
        description=f"Grant {grant.grant_id} expired",
        postings=grant_expired(grant.customer_id, grant.amount or ZERO, grant.currency),
        customer_id=grant.customer_id,
    )


# A grant expires though nothing is stored.
draw = Stage(
    name="draw",
    step=DAY,
    chunk_parts=200,
    list_entities=rating.list_entities,
    find=_find,
    follows_clock=True,
)
