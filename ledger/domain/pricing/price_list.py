"""Turns a rate card into the price of each kind of usage at each moment, spelled out.

Invariant: the stretches of a kind and meter of tokens follow one another without gap, and each has
one price or says why it has none.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

from ledger.domain.money import plain
from ledger.domain.period import Period
from ledger.domain.pricing.price_model import Basis
from ledger.domain.pricing.rate_card import (
    METERS,
    UNASKED_METERS,
    CardPrice,
    RateCard,
    UsageKey,
    find_price,
)


@dataclass(frozen=True, slots=True)
class ListedPrice:
    """What one unit of a meter costs in [since, until); `price` None says why in `unpriced`."""

    card: RateCard
    key: UsageKey
    meter: str
    since: datetime
    until: datetime
    price: CardPrice | None
    unpriced: str | None = None

    @property
    def basis(self) -> Basis | None:
        """What amounts follow from; None without a price."""
        return None if self.price is None else self.price.price.basis

    @property
    def each_amount(self) -> Decimal | None:
        """The exact amount of one unit, nothing where a period is priced as a whole;
        InvalidInputError where nobody can read the price."""
        return None if self.price is None else self.price.price.each_amount

    def as_row(self) -> dict[str, object]:
        """As queries of the store read it; InvalidInputError where nobody can read the price."""
        each_amount = self.each_amount
        return {
            "rate_card_id": self.card.rate_card_id,
            "model": self.key.model,
            "tier": self.key.tier,
            "adapter": self.key.adapter,
            "region": self.key.region,
            "context_band": self.key.context_band,
            "project_id": self.key.project_id,
            "agent_id": self.key.agent_id,
            "outcomes": self.key.outcomes,
            "meter": self.meter,
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "price_id": self.price.price_id if self.price else None,
            "currency": self.card.currency,
            "each_amount": None if each_amount is None else plain(each_amount),
            "is_pooled": self.basis is Basis.POOL,
            "unpriced": self.unpriced,
        }


def spell_out(card: RateCard, key: UsageKey, within: Period) -> Iterator[ListedPrice]:
    """The lines of all meters for usage of `key`; of what costs nothing without a price, those
    where it has one."""
    narrowed = card.narrowed_to(key)
    priced = {price.meter for price in narrowed.prices}
    meters = (*METERS, *(meter for meter in UNASKED_METERS if meter in priced))
    edges = {
        edge
        for price in narrowed.prices
        for edge in (price.valid_from, price.valid_to)
        if edge is not None and within.start < edge < within.end
    }
    for hours in {price.hours for price in narrowed.prices if price.hours is not None}:
        edges.update(hours.edges(within))
    for since, until in pairwise([within.start, *sorted(edges), within.end]):
        for meter in meters:
            price = find_price(narrowed, meter, key, since)
            if price is None and meter in UNASKED_METERS:
                continue
            unpriced = None if price else no_price(card, meter, key)
            yield ListedPrice(card, key, meter, since, until, price, unpriced)


def price_edges(listed: Iterable[ListedPrice]) -> set[datetime]:
    """The moments at which what some kind costs may change, of prices as they were spelled out."""
    return {
        each.since
        for before, each in pairwise(listed)
        if each.since == before.until and each.key == before.key and each.card is before.card
    }


def number_kinds(listed: Iterable[ListedPrice]) -> dict[UsageKey, int]:
    """A number for each kind of usage that prices are listed for."""
    return {key: number for number, key in enumerate(dict.fromkeys(each.key for each in listed))}


def no_price(card: RateCard, meter: str, key: UsageKey) -> str:
    """Why usage under a card has no price."""
    return f"rate card {card.rate_card_id} has no price for {meter} of {key.model}, tier {key.tier}"
