"""Turns fees paid in advance into lines: of the period to come, and back once it is billed.

Invariant: of each service period, price and name what is billed in advance adds up to what it is
expected to come to while it is to come, and to nothing once it is billed by what it came to.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ledger.domain.billing.invoice import InvoiceLine, LineKey
from ledger.domain.money import EXACT, ZERO, round_minor
from ledger.domain.period import Period
from ledger.domain.pricing.models.recurring import Recurring
from ledger.domain.pricing.period_charges import use_of_time
from ledger.domain.pricing.price_model import PricePart
from ledger.domain.pricing.rate_card import CardPrice
from ledger.domain.pricing.subscription import Subscription

ADVANCE = "advance"


@dataclass(frozen=True, slots=True)
class ToCome:
    """The period behind the one that is billed, whose it is, and the prices of its card."""

    subscription: Subscription
    period: Period
    prices: Sequence[CardPrice]


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


def _expected(to_come: ToCome) -> Iterator[tuple[LineKey, Decimal]]:
    period = to_come.period
    for price in to_come.prices:
        if not isinstance(price.price, Recurring) or price.price.billed != ADVANCE:
            continue
        use = use_of_time(to_come.subscription, price, period.start, period.end, {})
        fee = price.price.amount_of(use)
        if fee:
            key = LineKey(
                *(period.start, period.end, "", "", "", "", 0, price.meter, price.price_id),
                part=price.name,
            )
            yield key, fee
