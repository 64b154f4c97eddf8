"""Turns signed amounts on accounts into entries that sum to zero for each currency.

Invariant: an entry that does not balance cannot be made; a reversal swaps every sign.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

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
    sums: dict[Posting, Decimal] = defaultdict(lambda: ZERO)
    for posting in postings:
        key = replace(posting, amount=ZERO)
        sums[key] = EXACT.add(sums[key], posting.amount)
    return tuple(
        replace(key, amount=amount)
        for key, amount in sorted(sums.items(), key=lambda item: _order(item[0]))
        if amount != 0
    )


def _order(posting: Posting) -> tuple[str, ...]:
    return (
        *(posting.account, posting.currency, posting.customer_id or ""),
        *(posting.dimension, posting.tier, posting.model),
    )


def difference(now: Iterable[Posting], booked: Iterable[Posting]) -> tuple[Posting, ...]:
    """What must be booked on top of `booked` to arrive at `now`; empty where nothing changed."""
    return merged((*now, *reversal(booked)))
