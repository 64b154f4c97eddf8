"""Turns the usage of a window into charges: exact amounts, or the reason there is no price.

Invariant: a charge is quantity × price, unrounded; usage without a price is listed, never zero.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ledger.domain.pricing.rate_card import METERS, RateCard, UsageKey, find_price


@dataclass(frozen=True, slots=True)
class UsageTotals:
    """Tokens of one usage key in one window, by leaf."""

    uncached: int
    cache_read: int
    cache_write: int
    visible: int
    reasoning: int

    def by_meter(self) -> dict[str, int]:
        """Quantity of each meter."""
        leaves = (self.uncached, self.cache_read, self.cache_write, self.visible, self.reasoning)
        return dict(zip(METERS, leaves, strict=True))


@dataclass(frozen=True, slots=True)
class Charge:
    """What one meter of a window costs the customer; `amount` None says why in `unpriced`."""

    meter: str
    quantity: int
    price_id: int | None
    amount: Decimal | None
    unpriced: str | None = None


def rate_window(
    totals: UsageTotals, key: UsageKey, card: RateCard | None, at: datetime
) -> list[Charge]:
    """Charges of a window that starts `at`, one for each meter with a quantity.

    `card` None means that the customer has no subscription then.
    """
    return [
        _charge(meter, quantity, key, card, at)
        for meter, quantity in totals.by_meter().items()
        if quantity != 0
    ]


def _charge(
    meter: str, quantity: int, key: UsageKey, card: RateCard | None, at: datetime
) -> Charge:
    if card is None:
        return Charge(meter, quantity, None, None, "no subscription")
    found = find_price(card, meter, key, at)
    if found is None:
        reason = f"rate card {card.rate_card_id} has no price for {meter} of {key.model}"
        return Charge(meter, quantity, None, None, f"{reason}, tier {key.tier}")
    return Charge(meter, quantity, found.price_id, found.price.price(quantity))
