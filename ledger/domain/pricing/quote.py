"""What usage comes to on a rate card by itself, outside of any billing period."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from ledger.domain.money import total
from ledger.domain.pricing.price_list import no_price
from ledger.domain.pricing.rate_card import RateCard, UsageKey, find_price


def quote_usage(
    card: RateCard, counts: Mapping[str, int], key: UsageKey, at: datetime
) -> Decimal | str:
    """The exact amount of counts by meter, or why there is none; InvalidInputError where nobody can
    read a price."""
    amounts = []
    for meter, quantity in counts.items():
        price = find_price(card, meter, key, at)
        if price is None:
            return no_price(card, meter, key)
        amounts.append(price.price.price(quantity))
    return total(amounts)


def agrees(quoted: Decimal, said: Decimal) -> bool:
    """Whether an amount that somebody rounded is the quoted one: off by half its last digit."""
    exponent = said.as_tuple().exponent
    assert isinstance(exponent, int)
    return abs(quoted - said) * 2 <= Decimal(1).scaleb(exponent)
