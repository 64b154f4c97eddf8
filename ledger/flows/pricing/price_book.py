"""What cards say, who is on those that look at billing periods, and where days begin."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime

from ledger.domain.errors import NotFoundError
from ledger.domain.period import day_starts
from ledger.domain.pricing.models import PERIOD_KINDS
from ledger.domain.pricing.price_list import ListedPrice, spell_out
from ledger.domain.pricing.rate_card import RateCard
from ledger.domain.pricing.subscription import Subscription
from ledger.flows.stage import StageContext
from ledger.store.connect import draw_cut_off
from ledger.store.pricing import rating, rating_periods
from ledger.store.pricing.prices import ModelCost, PricingSubscription, list_pricing, sum_model_cost
from ledger.store.pricing.rating import CustomerPeriod, UsedKind
from ledger.store.queries import Connection

# What prices customers' usage by cards with prices that look at periods, by customer.
Subscribed = Mapping[str, Sequence[Subscription]]


@dataclass(frozen=True, slots=True)
class PriceBook:
    """What the cards say, and in which zones customers are billed, as known at a cut-off.

    `timed` are customers who may be charged for time, or may have been.
    """

    cards: Mapping[str, RateCard]
    zones: Sequence[str]
    subscribed: Subscribed
    timed: Set[str]

    def spell_out(self, kinds: Sequence[UsedKind]) -> Iterator[ListedPrice]:
        """The prices of what was used."""
        for kind in kinds:
            yield from spell_out(self.cards[kind.rate_card_id], kind.key, kind.within)

    def midnights(self, home: str, periods: Sequence[CustomerPeriod]) -> dict[str, list[datetime]]:
        """Midnights of each zone, and of home, from the first start to the last end."""
        first = min(since for _, since, _ in periods)
        last = max(until for _, _, until in periods)
        own = day_starts(first, last, home)
        zones = sorted({home, *self.zones})
        return {name: sorted({*own, *day_starts(first, last, name)}) for name in zones}


def members_of(subscribed: Subscribed) -> dict[str, set[str]]:
    """Whose usage each subscription prices: its customer's, and of all who are below it."""
    members: dict[str, set[str]] = defaultdict(set)
    for customer_id, subscriptions in subscribed.items():
        for each in subscriptions:
            members[each.subscription_id].add(customer_id)
    return members


async def find_subscribed(context: StageContext) -> Subscribed:
    """Subscriptions whose cards have prices that look at periods."""
    subscribed: dict[str, list[Subscription]] = defaultdict(list)
    for each in await rating_periods.list_period_subscriptions(
        context.connection,
        entity_id=context.entity.entity_id,
        kinds=PERIOD_KINDS,
        batch_seq=context.cut_off.batch_seq,
    ):
        subscribed[each.customer_id].append(each)
    return subscribed


async def read_book(context: StageContext, subscribed: Subscribed, timed: Set[str]) -> PriceBook:
    """The cards of the entity as known at the cut-off."""
    entity_id, seq = context.entity.entity_id, context.cut_off.batch_seq
    return PriceBook(
        await rating.find_cards(context.connection, entity_id=entity_id, batch_seq=seq),
        await rating.list_zones(context.connection, entity_id=entity_id, batch_seq=seq),
        subscribed,
        timed,
    )


async def find_card(connection: Connection, rate_card_id: str, purpose: str) -> RateCard:
    """A card as it stands now; NotFoundError where there is none."""
    cut_off = await draw_cut_off(connection, purpose)
    cards = await rating.find_cards(
        connection, rate_card_ids=[rate_card_id], batch_seq=cut_off.batch_seq
    )
    if rate_card_id not in cards:
        raise NotFoundError(
            f"There is no rate card {rate_card_id}.", "See tokenledger list rate-cards."
        )
    return cards[rate_card_id]


async def find_pricing(
    connection: Connection, *, customer_id: str, model: str, at: datetime
) -> list[PricingSubscription]:
    """The subscriptions that price what a customer uses at a moment as it stands now; NotFoundError
    where none prices the model."""
    cut_off = await draw_cut_off(connection, "price explain")
    listed = await list_pricing(
        connection, customer_id=customer_id, model=model, at=at, batch_seq=cut_off.batch_seq
    )
    if not any(each.applies for each in listed):
        others = ", ".join(each.subscription_id for each in listed)
        there = f", though it has {others}" if others else ""
        raise NotFoundError(
            f"No subscription of {customer_id} prices {model or 'no model'} then{there}.",
            "See tokenledger list subscriptions.",
        )
    return listed


async def find_cost(
    connection: Connection, *, customer_id: str, model: str, at: datetime
) -> list[ModelCost]:
    """What a customer's usage of a model was allocated of cost on the day of a moment, as it stands
    now, by currency."""
    cut_off = await draw_cut_off(connection, "price explain")
    return await sum_model_cost(
        connection, customer_id=customer_id, model=model, at=at, batch_seq=cut_off.batch_seq
    )
