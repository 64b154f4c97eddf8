"""Turns a dated set of prices into the one price of a quantity, or into the reason there is none.

Invariant: the most specific price applies; two equally specific ones are refused when entered.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from ledger.domain.period import FAR, Period
from ledger.domain.pricing.hours import PriceHours
from ledger.domain.pricing.models import StoredPrice

METERS = (
    "input_uncached",
    "input_cache_read",
    "input_cache_write",
    "output_visible",
    "output_reasoning",
)
# What a period is charged beside usage: fees, what a minimum is short of, what is taken off.
PERIOD_METERS = ("fee", "commitment", "discount")
# One global, append-only list: an event's band is an index into it, whatever any card says.
# An edge lies below what it begins: from 200,001 tokens on is above 200,000, from 200,000 on above
# 199,999.
BAND_EDGES = (
    *(0, 31_999, 32_000, 127_999, 128_000, 199_999, 200_000),
    *(255_999, 256_000, 271_999, 272_000, 511_999, 512_000),
)
# A thought costs what output costs where no price of its own says otherwise. Cache reads and writes
# have no such rule: unknown is neither free nor full price.
FALLBACK = {"output_reasoning": "output_visible"}


def context_band(context_tokens: int) -> int:
    """Index of the band: the last edge that lies below the tokens (an edge itself is below)."""
    return max(bisect_right(BAND_EDGES, context_tokens - 1) - 1, 0)


@dataclass(frozen=True, slots=True, order=True)
class UsageKey:
    """What a price may depend on."""

    model: str
    tier: str
    adapter: str = ""
    region: str = ""
    context_band: int = 0


@dataclass(frozen=True, slots=True)
class CardPrice:
    """One price of a card; None is any. `model` may end with * for all that begin so. Applies above
    `band_from` tokens of context, and in `hours` of the week; `name` tells fees of one card apart.
    """

    price_id: int
    meter: str
    model: str | None
    tier: str | None
    adapter: str | None
    region: str | None
    band_from: int | None
    price: StoredPrice
    valid_from: datetime
    valid_to: datetime | None
    name: str = ""
    hours: PriceHours | None = None

    @property
    def validity(self) -> Period:
        """Its validity as a period."""
        return Period(self.valid_from, self.valid_to or FAR)

    def matches(self, key: UsageKey, at: datetime) -> bool:
        """Whether it may price usage of `key` in the window that starts `at`."""
        in_force = self.valid_from <= at and (self.valid_to is None or at < self.valid_to)
        return in_force and self.names(key) and (self.hours is None or self.hours.hold(at))

    def names(self, key: UsageKey) -> bool:
        """Whether it may price usage of `key` at some time."""
        return (
            model_rank(self.model, key.model) is not None
            and self.tier in (None, key.tier)
            and self.adapter in (None, key.adapter)
            and self.region in (None, key.region)
            and (self.band_from is None or self.band_from <= BAND_EDGES[key.context_band])
        )

    @property
    def specificity(self) -> tuple[int, bool, bool, bool, int, bool]:
        """Compared left to right: the model or more of it, adapter, tier, region, the higher band,
        then hours."""
        return (
            _rank_of(self.model),
            self.adapter is not None,
            self.tier is not None,
            self.region is not None,
            self.band_from or 0,
            self.hours is not None,
        )


def model_rank(pattern: str | None, model: str) -> int | None:
    """How much of a model a price names, None where it is for another one."""
    if pattern in (None, model):
        return _rank_of(pattern)
    named = pattern.endswith("*") and model.startswith(pattern[:-1])
    return _rank_of(pattern) if named else None


def _rank_of(pattern: str | None) -> int:
    if pattern is None:
        return 0
    return len(pattern) if pattern.endswith("*") else _WHOLE_MODEL


# No beginning of a model is as long.
_WHOLE_MODEL = 1_000


@dataclass(frozen=True)
class RateCard:
    """The prices of a card in one currency."""

    rate_card_id: str
    currency: str
    prices: Sequence[CardPrice]

    @cached_property
    def _by_model(self) -> Mapping[str | None, Sequence[CardPrice]]:
        by_model: dict[str | None, list[CardPrice]] = defaultdict(list)
        for price in self.prices:
            by_model[price.model].append(price)
        return by_model

    def narrowed_to(self, key: UsageKey) -> "RateCard":
        """The card with those prices alone that may price usage of `key`."""
        beginnings = (f"{key.model[:length]}*" for length in range(len(key.model) + 1))
        patterns = dict.fromkeys([None, key.model, *beginnings])
        named = (price for pattern in patterns for price in self._by_model.get(pattern, ()))
        return replace(self, prices=[price for price in named if price.names(key)])


def find_price(card: RateCard, meter: str, key: UsageKey, at: datetime) -> CardPrice | None:
    """The most specific price of the meter, else of its fallback, else None."""
    matching = [p for p in card.prices if p.meter == meter and p.matches(key, at)]
    if matching:
        return max(matching, key=lambda p: (p.specificity, -p.price_id))
    fallback = FALLBACK.get(meter)
    return find_price(card, fallback, key, at) if fallback else None


def check_card(prices: Sequence[CardPrice]) -> list[str]:
    """Problems of a card: unknown meters, band edges that are not in the list, equal rivals."""
    problems = [
        f"price {p.price_id}: no meter {p.meter!r}"
        for p in prices
        if p.meter not in (*METERS, *PERIOD_METERS)
    ]
    problems += [
        f"price {p.price_id}: band_from {p.band_from} is not one of {BAND_EDGES}"
        for p in prices
        if p.band_from is not None and p.band_from not in BAND_EDGES
    ]
    return problems + _rivals(prices)


def _rivals(prices: Sequence[CardPrice]) -> list[str]:
    seen: dict[tuple[object, ...], CardPrice] = {}
    by_hours: dict[tuple[object, ...], list[CardPrice]] = defaultdict(list)
    problems = []
    for price in sorted(prices, key=lambda p: p.valid_from):
        # From the first token on is the same as no band at all.
        band = price.band_from or 0
        terms = (
            *(price.meter, price.model, price.tier, price.adapter, price.region),
            band,
            price.name,
        )
        rivals = by_hours[terms] if price.hours else [seen[terms]] if terms in seen else []
        problems += [
            f"prices {rival.price_id} and {price.price_id} both apply to {price.meter}"
            f" at {price.valid_from.isoformat()}"
            for rival in rivals
            if rival.valid_to is None or price.valid_from < rival.valid_to
            if not (rival.hours and price.hours) or rival.hours.meet(price.hours)
        ]
        if price.hours:
            by_hours[terms].append(price)
        else:
            seen[terms] = price
    return problems
