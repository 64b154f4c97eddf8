"""Turns fees paid in advance into lines: of the period to come, and back once it is billed.

Invariant: of each service period, price and name what is billed in advance adds up to what it is
expected to come to while it is to come, and to nothing once it is billed by what it came to.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from ledger.domain.billing.invoice import InvoiceLine, LineKey
from ledger.domain.money import EXACT, ZERO, round_minor, total
from ledger.domain.period import Period, intersect
from ledger.domain.pricing.models import StoredPrice
from ledger.domain.pricing.models.recurring import Recurring
from ledger.domain.pricing.period_charges import use_of_time
from ledger.domain.pricing.price_model import PriceModel, PricePart
from ledger.domain.pricing.rate_card import CardPrice
from ledger.domain.pricing.subscription import Subscription

ADVANCE = "advance"


@dataclass(frozen=True, slots=True)
class ToCome:
    """The period behind the one that is billed, whose it is, and the prices of its card; it is of
    the subscription in `own` times, and set aside while somebody else pays."""

    subscription: Subscription
    period: Period
    prices: Sequence[CardPrice]
    own: Sequence[Period]

    def fee(self, price: CardPrice) -> Decimal:
        """What a fee is expected to come to in the period."""
        valid = self.subscription.validity
        own = [part for part in (intersect(time, valid) for time in self.own) if part]
        parts = [
            replace(self.subscription, valid_from=part.start, valid_to=part.end, agreed=valid)
            for part in own
        ]
        start, end = self.period.start, self.period.end
        return total(
            [price.price.amount_of(use_of_time(part, price, start, end, {})) for part in parts]
        )


def advance_lines(
    to_come: ToCome | None,
    billed: Mapping[LineKey, Decimal],
    currency: str,
    mode: str,
) -> list[InvoiceLine]:
    """Lines that bring what is `billed` in advance to what it should be: what is to come at its
    fee, if anything is, and all else to nothing."""
    due = dict(_expected(to_come)) if to_come else {}
    lines = []
    for key in sorted(due.keys() | billed.keys()):
        amount = EXACT.subtract(due.get(key, ZERO), billed.get(key, ZERO))
        if amount:
            part = PricePart("", 1, amount)
            rounded = round_minor(amount, currency, mode)
            lines.append(InvoiceLine(ADVANCE, key, 1, amount, rounded, part))
    return lines


def deferred_of(lines: Iterable[InvoiceLine], prices: Mapping[int, PriceModel]) -> Decimal:
    """What lines say of fees billed in advance, exact and in the currency of their
    prices: asked for, earned and taken back."""
    advance = {price_id for price_id, price in prices.items() if is_in_advance(price)}
    return total([line.charged for line in lines if line.key.price_id in advance])


def is_in_advance(price: StoredPrice) -> bool:
    """Whether a price is of a fee that is billed in advance."""
    return isinstance(price, Recurring) and price.billed == ADVANCE


def _expected(to_come: ToCome) -> Iterator[tuple[LineKey, Decimal]]:
    period = to_come.period
    for price in to_come.prices:
        if not is_in_advance(price.price):
            continue
        fee = to_come.fee(price)
        if fee:
            key = LineKey(
                *(period.start, period.end, "", "", "", "", 0, price.meter, price.price_id),
                part=price.name,
            )
            yield key, fee
