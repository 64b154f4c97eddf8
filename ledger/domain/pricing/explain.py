"""Says of every price of a card why it applies to a usage, or why another does."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from ledger.domain.pricing.outcome import BITS
from ledger.domain.pricing.rate_card import (
    BAND_EDGES,
    FALLBACK,
    OUTCOME,
    CardPrice,
    RateCard,
    UsageKey,
    find_price,
    find_same,
    is_billed,
    model_rank,
)

RULE = (
    "First comes the price that names the agent; then the project; then the model, or more of its"
    " beginning; then the adapter, the tier, the region, the longest context, the hours of the"
    " week. Thoughts cost what output costs unless priced apart. An attempt with an outcome for"
    " which the house pays costs nothing. Characters, pages, images, audio and video cost nothing"
    " while the tokens that count the same have a price that is not 0."
)
# In the order in which a price that names more comes before one that names less.
RANKS = ("agent_id", "project_id", "model", "adapter", "tier", "region", "band_from", "hours")


@dataclass(frozen=True, slots=True)
class PriceVerdict:
    """Whether a price applies to a usage, and why."""

    price: CardPrice
    applies: bool
    why: str


def explain_price(card: RateCard, meter: str, key: UsageKey, at: datetime) -> list[PriceVerdict]:
    """Every price of the meter, and of the one it falls back on: what applies first."""
    winner = find_price(card, meter, key, at)
    same = find_same(card, meter, key, at)
    meters = (meter, FALLBACK.get(meter), OUTCOME)
    verdicts = [
        _verdict(price, winner, same, key, at) for price in card.prices if price.meter in meters
    ]
    return sorted(verdicts, key=lambda verdict: (not verdict.applies, verdict.price.price_id))


def _verdict(
    price: CardPrice,
    winner: CardPrice | None,
    same: CardPrice | None,
    key: UsageKey,
    at: datetime,
) -> PriceVerdict:
    if price is winner:
        why = "the house pays for it" if price.meter == OUTCOME else "names most of what was used"
        return PriceVerdict(price, True, why)
    against = next(_mismatches(price, key, at), None)
    if against is None and same is not None and price.meter != OUTCOME:
        against = f"price {same.price_id} asks for the same by its tokens, {same.meter}"
    if against is None:
        against = _outranked(price, winner)
    return PriceVerdict(price, False, against)


def _mismatches(price: CardPrice, key: UsageKey, at: datetime) -> Iterator[str]:
    if at < price.valid_from:
        yield f"valid only from {price.valid_from.isoformat()}"
    if price.valid_to is not None and at >= price.valid_to:
        yield f"valid only up to {price.valid_to.isoformat()}"
    if price.hours is not None and not price.hours.hold(at):
        yield f"only {price.hours.text}"
    if model_rank(price.model, key.model) is None:
        yield f"for model {price.model}, not {key.model or 'none'}"
    if price.meter == OUTCOME and not key.outcomes & BITS.get(price.name, 0):
        yield f"for attempts that were {price.name} only"
    for name in ("agent_id", "project_id", "adapter", "tier", "region"):
        wanted, used = getattr(price, name), getattr(key, name)
        if wanted not in (None, used):
            yield f"for {name.removesuffix('_id')} {wanted}, not {used or 'none'}"
    if price.band_from is not None and price.band_from > BAND_EDGES[key.context_band]:
        yield f"for context above {price.band_from:,} tokens"


def _outranked(price: CardPrice, winner: CardPrice | None) -> str:
    if price.meter == OUTCOME and is_billed(price.price):
        return "says that the customer pays, at the price that applies"
    if winner is None:
        return "nothing is asked for it anyhow"
    if price.meter != OUTCOME and winner.meter == OUTCOME:
        return f"price {winner.price_id} says that the house pays for what is {winner.name}"
    if price.meter != winner.meter:
        return f"price {winner.price_id} is for {winner.meter} itself"
    for name, mine, other in zip(RANKS, price.specificity, winner.specificity, strict=True):
        if mine != other:
            said = winner.hours.text if name == "hours" and winner.hours else getattr(winner, name)
            return f"price {winner.price_id} names {name.removesuffix('_id')} {said}"
    return f"price {winner.price_id} was entered first"
