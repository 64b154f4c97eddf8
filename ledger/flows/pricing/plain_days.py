"""Rates plain days as columns where they are many: most of what a month begins with is plain."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ledger.domain.pricing.plain_days import PlainCharges, price_days
from ledger.domain.pricing.price_list import ListedPrice
from ledger.flows.pricing.known_prices import KnownPrices, with_prices
from ledger.flows.pricing.periods import RatedDays
from ledger.store.pricing import plain_days
from ledger.store.pricing.plain_days import PlainDay
from ledger.store.pricing.rating import CustomerPeriod

# What fewer take by themselves is less than what columns take to begin with.
PLAIN_FROM = 100


async def append_plain_days(
    rated: RatedDays, known: KnownPrices, *, stored_seq: int
) -> tuple[int, Sequence[CustomerPeriod]]:
    """Append what was used on the plain ones of days, where they are many; returns how many charges
    that were, and the days that are left."""
    if len(rated.days) < PLAIN_FROM:
        return 0, rated.days
    context = rated.context
    days = await plain_days.find_plain_days(
        context.connection,
        entity=context.entity,
        periods=rated.days,
        batch_seq=context.cut_off.batch_seq,
    )
    days = [each for each in days if rated.days[each.index][0] not in rated.book.timed]
    if len(days) < PLAIN_FROM:
        return 0, rated.days
    charges = await _price(
        replace(rated, days=[rated.days[each.index] for each in days]), known, days
    )
    written = await plain_days.append_plain_charges(
        context.connection,
        entity=context.entity,
        days=[(*rated.days[each.index][:2], each.subscription_id) for each in days],
        charges=charges,
        cut_off=context.cut_off,
        stored_seq=stored_seq,
    )
    odd = charges.odd.tolist()
    done = {each.index for each, is_odd in zip(days, odd, strict=True) if not is_odd}
    return written, [each for index, each in enumerate(rated.days) if index not in done]


async def _price(rated: RatedDays, known: KnownPrices, days: Sequence[PlainDay]) -> PlainCharges:
    connection, batch_seq = rated.context.connection, rated.context.cut_off.batch_seq
    windows = await plain_days.read_windows(connection, periods=rated.days, batch_seq=batch_seq)

    async def price(listed: Sequence[ListedPrice]) -> PlainCharges | None:
        prices = known.plain(listed)
        kinds = await plain_days.find_key_kinds(
            connection,
            usage_key_ids=windows.usage_key_ids,
            kinds=prices.kinds,
            batch_seq=batch_seq,
        )
        cards = np.array([prices.cards.get(each.rate_card_id, -1) for each in days], np.int64)
        return await asyncio.to_thread(price_days, windows, kinds, cards, prices)

    return await with_prices(known, rated, price)
