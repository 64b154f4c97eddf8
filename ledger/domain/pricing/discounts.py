"""Turns what usage came to into what discounts take off it, and what is left for minimums.

Order: per cent first, of each usage the one that names most of it; then amounts, by name, each at
most what is left. So nothing is ever taken off twice, and never more than there is.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ledger.domain.money import EXACT, ZERO, total
from ledger.domain.period import WINDOW, Period
from ledger.domain.pricing.models.amount_off import AmountOff
from ledger.domain.pricing.models.cost_plus import CostPlus
from ledger.domain.pricing.models.percent_off import PercentOff
from ledger.domain.pricing.period_charges import DayAmount, timed_amounts
from ledger.domain.pricing.rate_card import CardPrice, UsageKey
from ledger.domain.pricing.subscription import Subscription

ORDER = (
    "A period is charged in this order: tiers, packages and allowances inside their prices; per"
    " cent off, of each usage the discount that names most of it; cost with its mark-up; amounts"
    " off; minimums; fees."
    " Then tax; credit pays what is left."
)


@dataclass(frozen=True, slots=True)
class UsageCharge:
    """What usage of a kind came to on a day."""

    day_start: datetime
    meter: str
    key: UsageKey
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Discounted:
    """What discounts take off by day, and what is left of usage by day."""

    off: Sequence[DayAmount]
    left: Mapping[datetime, Decimal]


def discounted(
    subscription: Subscription,
    prices: Sequence[CardPrice],
    uses: Sequence[UsageCharge],
    beside: Sequence[DayAmount] = (),
    *,
    usage_key_id: int,
) -> Discounted:
    """What the discounts of a card take off of usage since its billing period began; of what is
    charged `beside` it, as for its cost, no per cent are."""
    left: dict[datetime, Decimal] = defaultdict(lambda: ZERO)
    come_to = [(each.day_start, each.amount) for each in uses]
    come_to += [(each.day_start, each.amount) for each in beside]
    for day_start, amount in come_to:
        left[day_start] = EXACT.add(left[day_start], amount)
    off: list[DayAmount] = []
    for price, charged in _matched(prices, uses, left):
        days = [Period(day, day + WINDOW) for day in sorted(charged)]
        taken = list(
            timed_amounts(subscription, price, days, charged=charged, usage_key_id=usage_key_id)
        )
        for each in taken:
            left[each.day_start] = EXACT.add(left[each.day_start], each.amount)
        off += taken
    return Discounted(off, left)


def cost_amounts(
    subscription: Subscription,
    prices: Sequence[CardPrice],
    costs: Sequence[UsageCharge],
    *,
    usage_key_id: int,
) -> Iterator[DayAmount]:
    """What usage comes to by what it cost, by day; of each the price that names most of it."""
    own = [price for price in prices if isinstance(price.price, CostPlus)]
    for price, charged in _by_most_specific(own, costs):
        days = [Period(day, day + WINDOW) for day in sorted(charged)]
        yield from timed_amounts(
            subscription, price, days, charged=charged, usage_key_id=usage_key_id
        )


def _matched(
    prices: Sequence[CardPrice],
    uses: Sequence[UsageCharge],
    left: Mapping[datetime, Decimal],
) -> Iterator[tuple[CardPrice, dict[datetime, Decimal]]]:
    """Each discount, in order, with what it is taken off by day."""
    percents = [price for price in prices if isinstance(price.price, PercentOff)]
    yield from _by_most_specific(percents, uses)
    amounts_off = [price for price in prices if isinstance(price.price, AmountOff)]
    for price in sorted(amounts_off, key=lambda price: (price.name, price.price_id)):
        # What those before it left.
        yield price, dict(left)


def _by_most_specific(
    prices: Sequence[CardPrice], uses: Sequence[UsageCharge]
) -> Iterator[tuple[CardPrice, dict[datetime, Decimal]]]:
    """Each price with what usage came to, by day, of which it names most."""
    matched: dict[int, dict[datetime, list[Decimal]]] = defaultdict(lambda: defaultdict(list))
    for use in uses:
        best = max((p for p in prices if _is_for(p, use)), key=_rank, default=None)
        if best is not None:
            matched[best.price_id][use.day_start].append(use.amount)
    for price in prices:
        by_day = matched.get(price.price_id, {})
        yield price, {day: total(amounts) for day, amounts in by_day.items()}


def _is_for(price: CardPrice, use: UsageCharge) -> bool:
    on = price.price.on if isinstance(price.price, PercentOff) else None
    return on in (None, use.meter) and price.matches(use.key, use.day_start)


def _rank(price: CardPrice) -> tuple[object, ...]:
    on = isinstance(price.price, PercentOff) and price.price.on is not None
    return price.specificity, on, -price.price_id
