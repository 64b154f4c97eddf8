"""Turns what was used and what time went by into what each day of a billing period adds.

Invariant: a day adds what the period comes to up to its end less what it came to up to its start,
so the days sum to the period exactly, whichever of them is computed.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby

from ledger.domain.apportion import apportion_amount
from ledger.domain.money import EXACT, ZERO, plain, total
from ledger.domain.period import Period, intersect, whole_billing_period
from ledger.domain.pricing.price_model import PeriodUse, PriceModel
from ledger.domain.pricing.rate_card import CardPrice
from ledger.domain.pricing.subscription import Subscription


@dataclass(frozen=True, slots=True)
class DayUse:
    """What a customer used of a meter on a day under a price; `day_start` is where charges are."""

    customer_id: str
    subscription_id: str
    price_id: int
    day_start: datetime
    usage_key_id: int
    meter: str
    quantity: int
    payer_id: str | None = None


@dataclass(frozen=True, slots=True)
class DayAmount:
    """What a day adds to a charge, beside what its units cost one by one."""

    customer_id: str
    subscription_id: str
    price_id: int
    day_start: datetime
    usage_key_id: int
    meter: str
    amount: Decimal
    payer_id: str | None = None


@dataclass(frozen=True, slots=True)
class PeriodAmount:
    """What a day adds, in the currency of its card."""

    day: DayAmount
    currency: str

    def as_row(self) -> dict[str, object]:
        """As queries of the store read it."""
        said = asdict(self.day)
        said |= {"day_start": self.day.day_start.isoformat(), "amount": plain(self.day.amount)}
        return said | {"currency": self.currency}


def pooled_amounts(
    uses: Iterable[DayUse],
    models: Mapping[int, PriceModel],
    periods: Mapping[str, Sequence[Period]],
) -> Iterator[DayAmount]:
    """What days add of prices that look at all units of a period together.

    What a period came to so far is shared by its keys in proportion to their units so far, whoever
    used them. `periods` are the billing periods of each subscription.
    """
    pools: dict[tuple[str, int, Period], list[DayUse]] = defaultdict(list)
    for use in uses:
        period = next(p for p in periods[use.subscription_id] if use.day_start in p)
        pools[use.subscription_id, use.price_id, period].append(use)
    for (_, price_id, _), pool in pools.items():
        yield from _days_of_pool(pool, models[price_id])


def _days_of_pool(pool: Sequence[DayUse], model: PriceModel) -> Iterator[DayAmount]:
    used: dict[tuple[int, str], int] = defaultdict(int)
    shares: dict[tuple[int, str], Decimal] = {}
    users = {use.usage_key_id: (use.customer_id, use.payer_id) for use in pool}
    by_day = sorted(pool, key=lambda use: (use.day_start, use.usage_key_id, use.meter))
    for day_start, uses in groupby(by_day, key=lambda use: use.day_start):
        for use in uses:
            used[use.usage_key_id, use.meter] += use.quantity
        so_far = _shares(used, model)
        for (usage_key_id, meter), amount in so_far.items():
            added = EXACT.subtract(amount, shares.get((usage_key_id, meter), ZERO))
            if added:
                customer_id, payer_id = users[usage_key_id]
                yield DayAmount(
                    customer_id=customer_id,
                    payer_id=payer_id,
                    subscription_id=pool[0].subscription_id,
                    price_id=pool[0].price_id,
                    day_start=day_start,
                    usage_key_id=usage_key_id,
                    meter=meter,
                    amount=added,
                )
        shares = so_far


def _shares(
    used: Mapping[tuple[int, str], int], model: PriceModel
) -> dict[tuple[int, str], Decimal]:
    keys = sorted(used)
    units = [used[key] for key in keys]
    amount = model.price(sum(units))
    if not any(units):
        return dict.fromkeys(keys, ZERO)
    return dict(zip(keys, apportion_amount(amount, units), strict=True))


def timed_amounts(
    subscription: Subscription,
    price: CardPrice,
    days: Sequence[Period],
    *,
    charged: Mapping[datetime, Decimal],
    usage_key_id: int,
) -> Iterator[DayAmount]:
    """What `days` add of a price that follows time; each lies in one billing period.

    `charged` is what usage came to, by the day it is charged on, from the periods' starts on.
    """
    for day in days:
        before, after = (
            price.price.amount_of(use_of_time(subscription, price, day.start, moment, charged))
            for moment in (day.start, day.end)
        )
        added = EXACT.subtract(after, before)
        if added:
            yield DayAmount(
                customer_id=subscription.customer_id,
                subscription_id=subscription.subscription_id,
                price_id=price.price_id,
                day_start=day.start,
                usage_key_id=usage_key_id,
                meter=price.meter,
                amount=added,
            )


def use_of_time(
    subscription: Subscription,
    price: CardPrice,
    within: datetime,
    until: datetime,
    charged: Mapping[datetime, Decimal],
) -> PeriodUse:
    """What is gone at `until` of the billing period that holds `within`, while the price holds."""
    period = subscription.billing_period(within)
    whole_us = whole_billing_period(
        within, anchor_day=subscription.anchor_day, zone_name=subscription.zone
    ).microseconds
    held = intersect(period, subscription.validity)
    active = intersect(held, price.validity) if held else None
    if active is None or until <= active.start:
        return PeriodUse(whole_us=whole_us)
    gone = Period(active.start, min(until, active.end))
    usage = total([amount for at, amount in charged.items() if at in gone])
    return PeriodUse(0, gone.microseconds, whole_us, usage)
