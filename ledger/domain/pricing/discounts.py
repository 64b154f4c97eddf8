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
from ledger.domain.pricing.models.percent_off import PercentOff
from ledger.domain.pricing.period_charges import DayAmount, timed_amounts
from ledger.domain.pricing.rate_card import CardPrice, UsageKey
from ledger.domain.pricing.subscription import Subscription

ORDER = (
    "A period is charged in this order: tiers, packages and allowances inside their prices; per"
    " cent off, of each usage the discount that names most of it; amounts off; minimums; fees."
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
    *,
    usage_key_id: int,
) -> Discounted:
    """What the discounts of a card take off of usage since its billing period began."""
    left: dict[datetime, Decimal] = defaultdict(lambda: ZERO)
    for use in uses:
        left[use.day_start] = EXACT.add(left[use.day_start], use.amount)
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


def _matched(
    prices: Sequence[CardPrice],
    uses: Sequence[UsageCharge],
    left: Mapping[datetime, Decimal],
) -> Iterator[tuple[CardPrice, dict[datetime, Decimal]]]:
    """Each discount, in order, with what it is taken off by day."""
    percents = [price for price in prices if isinstance(price.price, PercentOff)]
    matched: dict[int, dict[datetime, list[Decimal]]] = defaultdict(lambda: defaultdict(list))
    for use in uses:
        best = _most_specific(percents, use)
        if best is not None:
            matched[best.price_id][use.day_start].append(use.amount)
    for price in percents:
        by_day = matched.get(price.price_id, {})
        yield price, {day: total(amounts) for day, amounts in by_day.items()}
    amounts_off = [price for price in prices if isinstance(price.price, AmountOff)]
    for price in sorted(amounts_off, key=lambda price: (price.name, price.price_id)):
        # What those before it left.
        yield price, dict(left)


def _most_specific(percents: Sequence[CardPrice], use: UsageCharge) -> CardPrice | None:
    matching = [
        price
        for price in percents
        if isinstance(price.price, PercentOff)
        and price.price.on in (None, use.meter)
        and price.matches(use.key, use.day_start)
    ]
    return max(matching, key=_rank, default=None)


def _rank(price: CardPrice) -> tuple[object, ...]:
    on = isinstance(price.price, PercentOff) and price.price.on is not None
    return price.specificity, on, -price.price_id
