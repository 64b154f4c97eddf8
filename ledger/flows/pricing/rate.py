"""Rates usage: days touched since the last run become charges, or say why they have no price.

What is stored of a day is made up to what it comes to now by differences; equal ones write nothing.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from ledger.domain.parked import Part
from ledger.domain.period import DAY, day_of
from ledger.domain.pricing.price_list import ListedPrice
from ledger.flows.customer_days import customer_days, customer_periods, with_days
from ledger.flows.parts import Due
from ledger.flows.pricing.known_prices import KnownPrices, with_prices
from ledger.flows.pricing.period_days import find_timed_days, with_days_behind
from ledger.flows.pricing.periods import RatedDays, append_timed, find_pooled, recall_costs
from ledger.flows.pricing.plain_days import append_plain_days
from ledger.flows.pricing.price_book import PriceBook, find_subscribed, read_book
from ledger.flows.stage import Stage, StageContext
from ledger.store.connect import draw_batch_seq
from ledger.store.pricing import rating


async def _find(context: StageContext, again: Sequence[Part]) -> Due:
    zone_name = context.entity.zone
    days = await rating.find_touched_days(
        context.connection,
        entity=context.entity,
        since_seq=context.last.batch_seq,
        batch_seq=context.cut_off.batch_seq,
    )
    subscribed = await find_subscribed(context)
    timed_days = await find_timed_days(context, subscribed)
    # Of most customers no price looks at a period.
    known = {(customer_id, day) for customer_id in subscribed for day in days.get(customer_id, ())}
    known |= timed_days | {(customer_id, day_of(at, zone_name)) for customer_id, at in again}
    behind = with_days_behind(known, subscribed, zone_name=zone_name, now=context.now)
    days = with_days(days, behind)
    payers = {each.payer_id for some in subscribed.values() for each in some}
    timed = {customer_id for customer_id, _ in (*timed_days, *again)} | subscribed.keys()
    # What is asked of a minimum follows from what is used below it, which is rated first.
    customers = sorted(sorted(days), key=lambda name: 2 * (name in timed) + (name in payers))
    parts = customer_days(days, customers, zone_name)
    book = await read_book(context, subscribed, timed) if parts else PriceBook({}, (), {}, timed)
    prices = KnownPrices(book)
    return Due(
        parts,
        partial(_rate_days, context, prices),
        apart=sum(len(days[name]) for name in days.keys() - timed),
        store_beside=lambda other: partial(_rate_days, replace(context, connection=other), prices),
    )


async def _rate_days(context: StageContext, known: KnownPrices, days: Sequence[Part]) -> int:
    rated = RatedDays(context, known.book, customer_periods(days, context.entity.zone))
    await recall_costs(rated)
    async with context.connection.transaction():
        await rating.prefer_hashes(context.connection)
        return await _append_used(rated, known) + await append_timed(rated)


async def _append_used(rated: RatedDays, known: KnownPrices) -> int:
    """Append what was used on the days, by prices of days before where they are enough."""
    stored_seq = await draw_batch_seq(rated.context.connection)
    written, left = await append_plain_days(rated, known, stored_seq=stored_seq)
    if left:
        written += await _append_others(replace(rated, days=left), known, stored_seq)
    return written


async def _append_others(rated: RatedDays, known: KnownPrices, stored_seq: int) -> int:
    context, periods = rated.context, rated.days
    pooled = [each.as_row() for each in await find_pooled(rated)]
    midnights = rated.book.midnights(context.entity.zone, periods)

    async def append(listed: Sequence[ListedPrice]) -> int | None:
        return await rating.append_charges(
            context.connection,
            entity=context.entity,
            periods=periods,
            prices=rating.DayPrices(listed, pooled, midnights),
            cut_off=context.cut_off,
            stored_seq=stored_seq,
        )

    return await with_prices(known, rated, append)


# `now` bounds no usage: what has been used is charged. Fees are charged as days begin.
rate = Stage(
    name="rate",
    step=DAY,
    # More of them gain nothing, and where they are not plain take more memory to sum.
    chunk_parts=1_000,
    list_entities=rating.list_entities,
    find=_find,
    follows_clock=True,
)
