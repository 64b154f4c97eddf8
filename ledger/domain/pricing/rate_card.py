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
from ledger.domain.pricing.models.per_unit import PerUnit
from ledger.domain.pricing.models.who_pays import WhoPays
from ledger.domain.pricing.outcome import BITS, outcome_names
from ledger.wire.extras import EXTRAS, SAME_AS

METERS = (
    "input_uncached",
    "input_cache_read",
    "input_cache_write",
    "output_visible",
    "output_reasoning",
)
# What is counted beside tokens, or is a part of them: it costs nothing of its own where no price is
# for it, and waits for none; a part with a price is not in the meter that it is a part of.
UNASKED_METERS = ("requests", *EXTRAS)
USAGE_METERS = (*METERS, *UNASKED_METERS)
# What a period is charged beside usage by the unit: fees, what a minimum is short of, what is taken
# off, and what usage cost with a mark-up.
PERIOD_METERS = ("fee", "commitment", "discount", "cost")
# What says of usage of all meters whether it is billed.
OUTCOME = "outcome"
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
    """What a price may depend on; `outcomes` are bits of `outcome`. Whoever no price names may
    stand for any project, agent or outcome."""

    model: str
    tier: str
    adapter: str = ""
    region: str = ""
    context_band: int = 0
    project_id: str = ""
    agent_id: str = ""
    outcomes: int = 0


@dataclass(frozen=True, slots=True)
class CardPrice:
    """One price of a card; None is any. `model` may end with * for all that begin so. Applies above
    `band_from` tokens of context, and in `hours` of the week; `name` tells fees of one card apart,
    and is the outcome that a rule of who pays is for.
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
    project_id: str | None = None
    agent_id: str | None = None

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
            and self.project_id in (None, key.project_id)
            and self.agent_id in (None, key.agent_id)
            and (self.meter != OUTCOME or bool(key.outcomes & BITS.get(self.name, 0)))
            and self.tier in (None, key.tier)
            and self.adapter in (None, key.adapter)
            and self.region in (None, key.region)
            and (self.band_from is None or self.band_from <= BAND_EDGES[key.context_band])
        )

    @property
    def specificity(self) -> tuple[bool, bool, int, bool, bool, bool, int, bool]:
        """Compared left to right: the agent, the project, the model or more of it, adapter, tier,
        region, the higher band, then hours."""
        return (
            self.agent_id is not None,
            self.project_id is not None,
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
    """The rule by which the house pays, else the most specific price of the meter, else of its
    fallback, else None; of what costs nothing without a price of its own, no rule either, and no
    price while tokens that count the same have one."""
    if find_same(card, meter, key, at) is not None:
        return None
    best = _most_specific(card, meter, key, at)
    if key.outcomes and (best is not None or meter not in UNASKED_METERS):
        return find_unbilled(card, key, at) or best
    return best


def find_same(card: RateCard, meter: str, key: UsageKey, at: datetime) -> CardPrice | None:
    """The price of the tokens that count the same as a meter, unless they cost nothing."""
    tokens = SAME_AS.get(meter)
    price = _most_specific(card, tokens, key, at) if tokens else None
    return None if price is None or _is_nothing(price.price) else price


def _is_nothing(price: StoredPrice) -> bool:
    return isinstance(price, PerUnit) and not price.amount


def _most_specific(card: RateCard, meter: str, key: UsageKey, at: datetime) -> CardPrice | None:
    matching = [p for p in card.prices if p.meter == meter and p.matches(key, at)]
    if matching:
        return max(matching, key=_rank)
    fallback = FALLBACK.get(meter)
    return _most_specific(card, fallback, key, at) if fallback else None


def find_unbilled(card: RateCard, key: UsageKey, at: datetime) -> CardPrice | None:
    """The rule by which the house pays for usage, of the first of its outcomes of which the most
    specific rule says so."""
    matching = [p for p in card.prices if p.meter == OUTCOME and p.matches(key, at)]
    for outcome in outcome_names(key.outcomes):
        best = max((p for p in matching if p.name == outcome), key=_rank, default=None)
        if best is not None and not is_billed(best.price):
            return best
    return None


def is_billed(price: StoredPrice) -> bool:
    """Whether a rule says that the customer pays; one that nobody can read says nothing so good."""
    return isinstance(price, WhoPays) and price.pays == "customer"


def _rank(price: CardPrice) -> tuple[object, ...]:
    return price.specificity, -price.price_id


def check_card(prices: Sequence[CardPrice]) -> list[str]:
    """Problems of a card: unknown meters, band edges that are not in the list, equal rivals."""
    problems = [
        f"price {p.price_id}: no meter {p.meter!r}"
        for p in prices
        if p.meter not in (*USAGE_METERS, *PERIOD_METERS, OUTCOME)
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
            *(price.project_id, price.agent_id),
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
