"""What days add by prices that look at a billing period as a whole."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TypeAlias

from ledger.domain.errors import InvalidInputError
from ledger.domain.metering.key import UsageKeyRow, usage_key
from ledger.domain.period import Period, day_starts, intersect
from ledger.domain.pricing.discounts import UsageCharge, cost_amounts, discounted
from ledger.domain.pricing.period_charges import (
    DayAmount,
    PeriodAmount,
    pooled_amounts,
    timed_amounts,
)
from ledger.domain.pricing.price_list import ListedPrice
from ledger.domain.pricing.price_model import Basis, PriceModel
from ledger.domain.pricing.rate_card import CardPrice, RateCard, find_unbilled
from ledger.domain.pricing.subscription import Subscription
from ledger.flows.cost.recall import recall_lines
from ledger.flows.pricing.period_days import periods_of
from ledger.flows.pricing.price_book import PriceBook, members_of
from ledger.flows.stage import StageContext
from ledger.store.connect import draw_batch_seq
from ledger.store.metering.ingest import insert_usage_keys
from ledger.store.pricing import rating, rating_periods
from ledger.store.pricing.rating import CustomerPeriod
from ledger.store.pricing.rating_periods import SubscribedPeriod, UsageCost
from ledger.wire.extras import PART_OF

# A subscription, prices of its card that follow time, and days of it.
TimedPrices: TypeAlias = tuple[Subscription, list[CardPrice], list[Period]]


@dataclass(frozen=True, slots=True)
class RatedDays:
    """Days of customers that are rated together, in the transaction of the connection."""

    context: StageContext
    book: PriceBook
    days: Sequence[CustomerPeriod]

    @property
    def span(self) -> Period:
        """From the start of the first to the end of the last."""
        return Period(min(start for _, start, _ in self.days), max(end for _, _, end in self.days))

    def subscriptions(self) -> dict[Subscription, list[Period]]:
        """The days of each subscription whose card has prices that look at periods."""
        spans: dict[Subscription, list[Period]] = defaultdict(list)
        for customer_id, since, until in self.days:
            for subscription in self.book.subscribed.get(customer_id, ()):
                spans[subscription] += filter(
                    None, [intersect(subscription.validity, Period(since, until))]
                )
        return spans

    def up_to(self) -> list[SubscribedPeriod]:
        """The billing periods of the days, up to the last of them, of everybody whose usage the
        same subscription prices."""
        ends: dict[tuple[str, datetime], datetime] = {}
        for subscription, days in self.subscriptions().items():
            for day in days:
                for period in periods_of(subscription, day):
                    key = (subscription.subscription_id, period.start)
                    end = min(period.end, days[-1].end)
                    ends[key] = max(end, ends.get(key, end))
        members = members_of(self.book.subscribed)
        return sorted(
            (name, customer_id, start, end)
            for (name, start), end in ends.items()
            for customer_id in members[name]
        )


async def find_pooled(rated: RatedDays) -> list[PeriodAmount]:
    """What prices that look at all units of a period together add on the days."""
    context, whole = rated.context, rated.up_to()
    if not whole:
        return []
    seq = context.cut_off.batch_seq
    spans = [(customer_id, since, until) for _, customer_id, since, until in whole]
    kinds = await rating.find_kinds(context.connection, periods=spans, batch_seq=seq)
    spelled = list(rated.book.spell_out(kinds))
    listed = [each for each in spelled if each.basis is Basis.POOL]
    if not listed:
        return []
    parts = [each for each in spelled if each.meter in PART_OF and each.basis is not Basis.POOL]
    uses = await rating_periods.find_pooled_use(
        context.connection,
        periods=whole,
        listed=[*listed, *parts],
        midnights=rated.book.midnights(context.entity.zone, spans),
        batch_seq=seq,
    )
    days = rated.subscriptions()
    periods: dict[str, list[Period]] = defaultdict(list)
    for subscription, some in days.items():
        periods[subscription.subscription_id] += {
            p for day in some for p in periods_of(subscription, day)
        }
    asked: dict[tuple[str, str], list[Period]] = defaultdict(list)
    for subscription, some in days.items():
        asked[subscription.customer_id, subscription.subscription_id] += some
    models = _models(listed)
    return [
        PeriodAmount(each, models[each.price_id][1])
        for each in pooled_amounts(uses, {n: model for n, (model, _) in models.items()}, periods)
        if any(each.day_start in day for day in asked[each.customer_id, each.subscription_id])
    ]


async def recall_costs(rated: RatedDays) -> None:
    """Have the cost lines that prices of the days follow, where they were let go before somebody
    asked for cost; in no transaction."""
    timed = list(_timed_prices(rated))
    if not any(price.meter == "cost" for _, prices, _ in timed for price in prices):
        return
    context, (_, days) = rated.context, _costed_days(rated, timed, rated.up_to())
    periods = [Period(*span) for span in sorted({(since, until) for _, _, since, until in days})]
    await recall_lines(
        context.connection, context.entity.entity_id, periods, context.cut_off.batch_seq
    )


async def append_timed(rated: RatedDays) -> int:
    """Append what time adds on the days, beside what usage was charged on them; returns rows."""
    context = rated.context
    periods = [period for period in rated.days if period[0] in rated.book.timed]
    if not periods:
        return 0
    stored_seq = await draw_batch_seq(context.connection)
    timed = list(_timed_prices(rated))
    whole = rated.up_to() if timed else []
    charged = await rating_periods.sum_usage_charged(
        context.connection, periods=whole, batch_seq=stored_seq
    )
    costs = await _find_costs(rated, timed, whole)
    keys = {
        subscription.customer_id: _no_usage(context, subscription.customer_id)
        for subscription, _, _ in timed
    }
    await insert_usage_keys(context.connection, list(keys.values()))
    return await rating_periods.append_period_charges(
        context.connection,
        entity=context.entity,
        periods=periods,
        timed=[
            PeriodAmount(each, rated.book.cards[subscription.rate_card_id].currency)
            for subscription, prices, days in timed
            for each in _timed_amounts(
                subscription,
                prices,
                days,
                charged.get(subscription.subscription_id, ()),
                costs.get(subscription.subscription_id, ()),
                keys[subscription.customer_id].usage_key_id,
            )
        ],
        cut_off=context.cut_off,
        stored_seq=stored_seq,
    )


def _timed_amounts(
    subscription: Subscription,
    prices: Sequence[CardPrice],
    days: Sequence[Period],
    uses: Sequence[UsageCharge],
    costs: Sequence[UsageCharge],
    usage_key_id: int,
) -> Iterator[DayAmount]:
    """What usage comes to by its cost, what discounts take off, and then what minimums and fees
    add, on days; what is of another validity under its id is that one's."""
    own = subscription.whole_validity
    uses, costs = ([each for each in some if each.day_start in own] for some in (uses, costs))
    plus = list(cost_amounts(subscription, prices, costs, usage_key_id=usage_key_id))
    off = discounted(subscription, prices, uses, plus, usage_key_id=usage_key_id)
    asked = (*plus, *off.off)
    yield from (each for each in asked if any(each.day_start in day for day in days))
    for price in prices:
        if price.meter not in ("discount", "cost"):
            yield from timed_amounts(
                subscription, price, days, charged=off.left, usage_key_id=usage_key_id
            )


async def _find_costs(
    rated: RatedDays, timed: Sequence[TimedPrices], whole: Sequence[SubscribedPeriod]
) -> dict[str, list[UsageCharge]]:
    """What usage cost by day, of subscriptions whose cards ask for that and of attempts that are
    billed; InvalidInputError where it is not in the currency of the card."""
    context, (plus, days) = rated.context, _costed_days(rated, timed, whole)
    if not days:
        return {}
    by_name = await rating_periods.sum_usage_costs(
        context.connection, entity=context.entity, periods=days, batch_seq=context.cut_off.batch_seq
    )
    cards = {name: rated.book.cards[plus[name].rate_card_id] for name in by_name}
    return {name: list(_billed_costs(cards[name], costs)) for name, costs in by_name.items()}


def _costed_days(
    rated: RatedDays, timed: Sequence[TimedPrices], whole: Sequence[SubscribedPeriod]
) -> tuple[dict[str, Subscription], list[SubscribedPeriod]]:
    """The subscriptions whose cards ask for what usage cost, and the days whose cost they go by."""
    plus = {
        subscription.subscription_id: subscription
        for subscription, prices, _ in timed
        if any(price.meter == "cost" for price in prices)
    }
    days = [
        (name, customer_id, day.start, day.end)
        for name, customer_id, start, end in whole
        if name in plus
        for day in _days(plus[name], Period(start, end), rated.context.entity.zone)
    ]
    return plus, days


def _billed_costs(card: RateCard, costs: Sequence[UsageCost]) -> Iterator[UsageCharge]:
    for cost in costs:
        if cost.currency != card.currency:
            raise InvalidInputError(
                f"Usage costs {cost.currency}, and rate card {card.rate_card_id} is in"
                f" {card.currency}: there is no price in it that follows from the cost.",
                "Use a card in the currency of the cost.",
            )
        if not (cost.use.key.outcomes and find_unbilled(card, cost.use.key, cost.use.day_start)):
            yield cost.use


def _models(listed: Sequence[ListedPrice]) -> dict[int, tuple[PriceModel, str]]:
    """Price models with their currencies, by id of the price."""
    return {
        each.price.price_id: (each.price.price, each.card.currency)
        for each in listed
        if each.price is not None and isinstance(each.price.price, PriceModel)
    }


def _timed_prices(rated: RatedDays) -> Iterator[TimedPrices]:
    """Prices that follow time, of each subscription, with its days that have begun."""
    home, now = rated.context.entity.zone, rated.context.now
    for subscription, spans in rated.subscriptions().items():
        if subscription.payer_id is not None:
            continue
        prices = rated.book.cards[subscription.rate_card_id].prices
        timed = [price for price in prices if price.price.basis is Basis.TIME]
        days = [
            day for span in spans for day in _days(subscription, span, home) if day.start <= now
        ]
        if timed:
            yield subscription, timed, days


def _days(subscription: Subscription, span: Period, home: str) -> Iterator[Period]:
    """A span cut where charges are: at midnights of the entity's zone and the subscription's."""
    midnights: set[datetime] = set()
    for zone_name in {home, subscription.zone}:
        midnights |= set(day_starts(span.start, span.end, zone_name))
    edges = [at for at in sorted(midnights) if span.start < at < span.end]
    yield from (Period(*each) for each in pairwise([span.start, *edges, span.end]))


def _no_usage(context: StageContext, customer_id: str) -> UsageKeyRow:
    """The key of what is charged to a customer for no usage."""
    return usage_key(
        entity_id=context.entity.entity_id,
        customer_id=customer_id,
        who=(customer_id, "", "", ""),
        tier="",
        what=("", "", ""),
        context_band=0,
    )
