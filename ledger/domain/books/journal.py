"""Turns signed amounts on accounts into entries that sum to zero for each currency.

Invariant: an entry that does not balance cannot be made; a reversal swaps every sign.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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

    @property
    def key(self) -> tuple[str, str, str | None, str]:
        """Everything but the amount."""
        return (self.account, self.currency, self.customer_id, self.dimension)


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
    return tuple(
        Posting(p.account, EXACT.minus(p.amount), p.currency, p.customer_id, p.dimension)
        for p in postings
    )


def merged(postings: Iterable[Posting]) -> tuple[Posting, ...]:
    """One posting for each place, in order of place; zeros left out."""
    sums: dict[tuple[str, str, str | None, str], Decimal] = defaultdict(lambda: ZERO)
    for posting in postings:
        sums[posting.key] = EXACT.add(sums[posting.key], posting.amount)
    return from_sums(sums)


def from_sums(sums: Mapping[tuple[str, str, str | None, str], Decimal]) -> tuple[Posting, ...]:
    """Postings of the places whose sum is not zero, in order of place."""
    ordered = sorted(
        sums.items(), key=lambda item: (item[0][0], item[0][1], item[0][2] or "", item[0][3])
    )
    return tuple(
        Posting(account, amount, currency, customer_id, dimension)
        for (account, currency, customer_id, dimension), amount in ordered
        if amount != 0
    )


def difference(now: Iterable[Posting], booked: Iterable[Posting]) -> tuple[Posting, ...]:
    """What must be booked on top of `booked` to arrive at `now`; empty where nothing changed."""
    return merged((*now, *reversal(booked)))
