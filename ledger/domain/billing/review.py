"""Tells what a person should look at before it goes out from invoices like those before."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from ledger.domain.money import multiply, plain

# How many invoices back a customer's history goes.
HISTORY = 12


@dataclass(frozen=True, slots=True)
class ReviewRule:
    """An amount to pay above `times` the largest of a customer's last invoices, and above
    `above`, is unusual; 0 times: none is."""

    times: int
    above: Decimal


def unusual(
    payable: Decimal, history: Sequence[Decimal], rule: ReviewRule, currency: str
) -> str | None:
    """What is unusual about an amount, or None; `history` is what the last invoices asked for, and
    a customer without any is not unusual.

    >>> unusual(Decimal(1001), [Decimal(100), Decimal(7)], ReviewRule(10, Decimal(500)), "EUR")
    '1001 EUR is over 10 times 100 EUR, the most of the last 2 invoices'
    """
    if not history or not rule.times or payable <= rule.above:
        return None
    most = max(history)
    if payable <= multiply(most, rule.times):
        return None
    return (
        f"{plain(payable)} {currency} is over {rule.times} times {plain(most)} {currency}, the"
        f" most of the last {len(history)} invoices"
    )
