"""Rates usage: windows touched since the last run become charges, or say why they have no price.

A window whose charges come out equal writes nothing; a changed one writes a new revision.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from ledger.domain.billing.subscription import Subscription, subscription_at
from ledger.domain.money import ZERO
from ledger.domain.parked import Part
from ledger.domain.period import WINDOW
from ledger.domain.pricing.rate_card import RateCard
from ledger.domain.pricing.rating import Charge, rate_window
from ledger.domain.revision import next_revisions
from ledger.flows.parts import Due
from ledger.flows.stage import Stage, StageContext
from ledger.store.connect import draw_batch_seq
from ledger.store.pricing import rating
from ledger.store.pricing.rating import (
    ChargeKey,
    ChargeValue,
    CustomerWindow,
    UsageWindow,
)


@dataclass(frozen=True, slots=True)
class PriceBook:
    """Who is on which card, and what the cards say, as known at one cut-off."""

    subscriptions: Mapping[str, Sequence[Subscription]]
    cards: Mapping[str, RateCard]

    def find(self, customer_id: str, at: datetime) -> tuple[Subscription | None, RateCard | None]:
        """The subscription and card of a customer in the window that starts `at`."""
        found = subscription_at(self.subscriptions.get(customer_id, ()), customer_id, at)
        return found, self.cards.get(found.rate_card_id) if found else None


async def _find(context: StageContext, again: Sequence[Part]) -> Due:
    touched = await rating.find_touched_windows(
        context.connection,
        entity_id=context.entity.entity_id,
        since_seq=context.last.batch_seq,
        batch_seq=context.cut_off.batch_seq,
    )
    parts = sorted({*touched, *again})
    book = await _read_prices(context) if parts else PriceBook({}, {})
    return Due(parts, partial(_rate_windows, context, book))


async def _read_prices(context: StageContext) -> PriceBook:
    entity_id, seq = context.entity.entity_id, context.cut_off.batch_seq
    return PriceBook(
        await rating.find_subscriptions(context.connection, entity_id=entity_id, batch_seq=seq),
        await rating.find_cards(context.connection, entity_id=entity_id, batch_seq=seq),
    )


async def _rate_windows(
    context: StageContext, book: PriceBook, windows: Sequence[CustomerWindow]
) -> int:
    connection = context.connection
    async with connection.transaction():
        usage = await rating.sum_usage(
            connection, windows=windows, batch_seq=context.cut_off.batch_seq
        )
        computed: dict[ChargeKey, ChargeValue] = {}
        for one in usage:
            computed.update(_charges(one, book))
        stored = await rating.find_charges(connection, windows=windows)
        kept = {key: _same_or_new(stored.get(key), value) for key, value in computed.items()}
        changes = next_revisions(stored, kept, nothing=_nothing)
        if changes:
            batch_seq = await draw_batch_seq(connection)
            stamp = (context.cut_off.cut_off_id, batch_seq, context.entity.entity_id)
            rows = [_row(key, revision, value, stamp) for key, revision, value in changes]
            await rating.append_charges(connection, rows)
        return len(changes)


def _charges(usage: UsageWindow, book: PriceBook) -> dict[ChargeKey, ChargeValue]:
    subscription, card = book.find(usage.customer_id, usage.window_start)
    charges = rate_window(usage.totals, usage.key, card, usage.window_start)
    return {
        (usage.customer_id, usage.usage_key_id, usage.window_start, charge.meter): _value(
            charge, subscription, card
        )
        for charge in charges
    }


def _value(charge: Charge, subscription: Subscription | None, card: RateCard | None) -> ChargeValue:
    return ChargeValue(
        subscription_id=subscription.subscription_id if subscription else None,
        quantity=charge.quantity,
        price_id=charge.price_id,
        currency=card.currency if card else None,
        amount=charge.amount,
        unpriced=charge.unpriced,
    )


def _same_or_new(stored: tuple[int, ChargeValue] | None, value: ChargeValue) -> ChargeValue:
    # A price entered again with another validity has another id; what it comes to is the same.
    if stored is not None and replace(value, price_id=stored[1].price_id) == stored[1]:
        return stored[1]
    return value


def _nothing(value: ChargeValue) -> ChargeValue:
    return replace(value, quantity=0, amount=None if value.amount is None else ZERO)


def _row(
    key: ChargeKey, revision: int, value: ChargeValue, stamp: tuple[int, int, str]
) -> tuple[object, ...]:
    return (
        *key,
        revision,
        value.subscription_id,
        value.quantity,
        value.price_id,
        value.currency,
        value.amount,
        value.unpriced,
        *stamp,
    )


# `now` bounds no usage: what has been used is charged.
rate = Stage(
    name="rate",
    about="Price what was used by the rate cards of that time.",
    step=WINDOW,
    chunk_parts=2_000,
    list_entities=rating.list_entities,
    find=_find,
)
