"""Rates usage: days touched since the last run become charges, or say why they have no price.

What is stored of a day is made up to what it comes to now by differences; equal ones write nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from ledger.domain.parked import Part
from ledger.domain.period import DAY, day_starts
from ledger.domain.pricing.price_list import ListedPrice, spell_out
from ledger.domain.pricing.rate_card import RateCard
from ledger.flows.customer_days import customer_days, customer_periods
from ledger.flows.parts import Due
from ledger.flows.stage import Stage, StageContext
from ledger.store.connect import draw_batch_seq
from ledger.store.pricing import rating
from ledger.store.pricing.rating import CustomerPeriod, UsedKind


@dataclass(frozen=True, slots=True)
class PriceBook:
    """What the cards say, and in which zones customers are billed, as known at one cut-off."""

    cards: Mapping[str, RateCard]
    zones: Sequence[str]

    def spell_out(self, kinds: Sequence[UsedKind]) -> Iterator[ListedPrice]:
        """The prices of what was used."""
        for kind in kinds:
            yield from spell_out(self.cards[kind.rate_card_id], kind.key, kind.within)


async def _find(context: StageContext, again: Sequence[Part]) -> Due:
    entity = context.entity
    touched = await rating.find_touched_days(
        context.connection,
        entity=entity,
        since_seq=context.last.batch_seq,
        batch_seq=context.cut_off.batch_seq,
    )
    parts = customer_days(touched, again, entity.zone)
    book = await _read_book(context) if parts else PriceBook({}, ())
    return Due(parts, partial(_rate_days, context, book))


async def _read_book(context: StageContext) -> PriceBook:
    entity_id, seq = context.entity.entity_id, context.cut_off.batch_seq
    return PriceBook(
        await rating.find_cards(context.connection, entity_id=entity_id, batch_seq=seq),
        await rating.list_zones(context.connection, entity_id=entity_id, batch_seq=seq),
    )


async def _rate_days(context: StageContext, book: PriceBook, days: Sequence[Part]) -> int:
    connection, entity, cut_off = context.connection, context.entity, context.cut_off
    periods = customer_periods(days, entity.zone)
    async with connection.transaction():
        kinds = await rating.find_kinds(connection, periods=periods, batch_seq=cut_off.batch_seq)
        return await rating.append_charges(
            connection,
            entity=entity,
            periods=periods,
            listed=book.spell_out(kinds),
            midnights=_midnights({entity.zone, *book.zones}, entity.zone, periods),
            cut_off=cut_off,
            stored_seq=await draw_batch_seq(connection),
        )


def _midnights(
    zones: set[str], home: str, periods: Sequence[CustomerPeriod]
) -> dict[str, list[datetime]]:
    """Midnights of each zone, and of home, from the first start to the last end."""
    first, last = min(since for _, since, _ in periods), max(until for _, _, until in periods)
    own = day_starts(first, last, home)
    return {name: sorted({*own, *day_starts(first, last, name)}) for name in sorted(zones)}


# `now` bounds no usage: what has been used is charged.
rate = Stage(
    name="rate",
    about="Price what was used by the rate cards of that time.",
    step=DAY,
    chunk_parts=2_000,
    list_entities=rating.list_entities,
    find=_find,
)
