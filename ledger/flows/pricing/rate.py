"""Rates usage: windows touched since the last run become charges, or say why they have no price.

A window whose charges come out equal writes nothing; a changed one writes a new revision.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ledger.domain.billing.subscription import Subscription, subscription_at
from ledger.domain.money import ZERO
from ledger.domain.parked import Part
from ledger.domain.period import WINDOW
from ledger.domain.pricing.rate_card import RateCard
from ledger.domain.pricing.rating import Charge, rate_window
from ledger.domain.revision import next_revisions
from ledger.flows.parts import Progress, StageWork, by_count, no_progress, run_parts
from ledger.flows.stage import StageReport, stage_report
from ledger.store.connect import CutOff, draw_batch_seq, draw_cut_off
from ledger.store.cost import cost
from ledger.store.pricing import rating
from ledger.store.pricing.rating import (
    ChargeKey,
    ChargeValue,
    CustomerWindow,
    RatedEntity,
    UsageWindow,
)
from ledger.store.queries import Connection

STAGE = "rate"
CHUNK_WINDOWS = 2_000


@dataclass(frozen=True, slots=True)
class PriceBook:
    """Who is on which card, and what the cards say, as known at one cut-off."""

    subscriptions: Mapping[str, Sequence[Subscription]]
    cards: Mapping[str, RateCard]

    def find(self, customer_id: str, at: datetime) -> tuple[Subscription | None, RateCard | None]:
        """The subscription and card of a customer in the window that starts `at`."""
        found = subscription_at(self.subscriptions.get(customer_id, ()), customer_id, at)
        return found, self.cards.get(found.rate_card_id) if found else None


async def rate(
    connection: Connection,
    *,
    entity_id: str | None = None,
    now: datetime,
    progress: Progress = no_progress,
) -> StageReport:
    """Bring the charges of one entity, or of all, up to what is stored now.

    A second run waits for the first. `now` bounds no usage: what has been used is charged.
    """
    async with cost.running(connection, STAGE):
        cut_off = await draw_cut_off(connection, STAGE)
        runs = [
            await run_parts(
                connection,
                _work(connection, entity, cut_off),
                cut_off=cut_off,
                now=now,
                progress=progress,
            )
            for entity in await rating.list_entities(connection, entity_id=entity_id)
        ]
    return stage_report(STAGE, cut_off, runs)


def _work(connection: Connection, entity: RatedEntity, cut_off: CutOff) -> StageWork:
    seq, name = cut_off.batch_seq, entity.entity_id
    book = PriceBook({}, {})

    async def find(again: Sequence[Part]) -> list[Part]:
        nonlocal book
        last = await cost.find_last_run(connection, stage=STAGE, entity_id=name)
        due: list[CustomerWindow] = []
        if last.batch_seq != seq:
            due = await rating.find_touched_windows(
                connection, entity_id=name, since_seq=last.batch_seq, batch_seq=seq
            )
        if due or again:
            book = PriceBook(
                await rating.find_subscriptions(connection, entity_id=name, batch_seq=seq),
                await rating.find_cards(connection, entity_id=name, batch_seq=seq),
            )
        return sorted({*due, *again})

    async def do(chunk: Sequence[Part]) -> int:
        return await _rate_chunk(connection, entity, book, chunk, cut_off)

    return StageWork(STAGE, name, WINDOW, find, lambda parts: by_count(parts, CHUNK_WINDOWS), do)


async def _rate_chunk(
    connection: Connection,
    entity: RatedEntity,
    book: PriceBook,
    windows: Sequence[CustomerWindow],
    cut_off: CutOff,
) -> int:
    async with connection.transaction():
        usage = await rating.sum_usage(connection, windows=windows, batch_seq=cut_off.batch_seq)
        computed: dict[ChargeKey, ChargeValue] = {}
        for one in usage:
            computed.update(_charges(one, book))
        stored = await rating.find_charges(connection, windows=windows)
        kept = {key: _same_or_new(stored.get(key), value) for key, value in computed.items()}
        changes = next_revisions(stored, kept, nothing=_nothing)
        if changes:
            batch_seq = await draw_batch_seq(connection)
            stamp = (cut_off.cut_off_id, batch_seq, entity.entity_id)
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
