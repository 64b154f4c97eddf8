"""Turns signed amounts on accounts into entries that sum to zero for each currency.

Invariant: an entry that does not balance cannot be made; a reversal swaps every sign.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

from ledger.domain.errors import InvalidInputError
from ledger.domain.money import EXACT, ZERO, plain


@dataclass(frozen=True, slots=True)
class Posting:
    """One signed amount on one account: debit positive, credit negative."""

    account: str
    amount: Decimal
    currency: str
    customer_id: str | None = None
    dimension: str = ""
    tier: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """Postings booked together under a natural key; refused unless they sum to zero."""

    entity_id: str
    kind: str
    natural_key: str
    booked_for: datetime
    description: str
    postings: tuple[Posting, ...]
    customer_id: str | None = None

    def __post_init__(self) -> None:
        for currency, left in balance(self.postings).items():
            if left != 0:
                raise InvalidInputError(
                    f"Journal entry {self.natural_key} does not balance: "
                    f"{plain(left)} {currency} left over."
                )


# Account, currency, customer or nothing, dimension, tier and model, by which postings are in order;
# and the customer as it is.
_Key: TypeAlias = tuple[str, str, str, str, str, str, str | None]


def balance(postings: Iterable[Posting]) -> dict[str, Decimal]:
    """The sum of the postings for each currency."""
    sums: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for posting in postings:
        sums[posting.currency] = EXACT.add(sums[posting.currency], posting.amount)
    return dict(sums)


def reversal(postings: Iterable[Posting]) -> tuple[Posting, ...]:
    """The same postings with every sign swapped."""
    return tuple(replace(posting, amount=EXACT.minus(posting.amount)) for posting in postings)


def merged(postings: Iterable[Posting]) -> tuple[Posting, ...]:
    """One posting for each account and what it is of, in that order; zeros left out."""
    # Tuples: there are a few for each invoice, and values would be made and compared.
    sums: dict[_Key, Decimal] = {}
    for each in postings:
        key = (
            *(each.account, each.currency, each.customer_id or ""),
            *(each.dimension, each.tier, each.model, each.customer_id),
        )
        sums[key] = EXACT.add(sums.get(key, ZERO), each.amount)
    return tuple(
        Posting(account, amount, currency, customer_id, dimension, tier, model)
        for (account, currency, _, dimension, tier, model, customer_id), amount in sorted(
            sums.items(), key=lambda item: item[0][:-1]
        )
        if amount != 0
    )


def difference(now: Iterable[Posting], booked: Iterable[Posting]) -> tuple[Posting, ...]:
    """What must be booked on top of `booked` to arrive at `now`; empty where nothing changed."""
    return merged((*now, *reversal(booked)))
