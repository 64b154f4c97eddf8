"""Turns what customers pay into what it pays for, and what they owe into how long they have.

Invariant: parts and rest of a payment add up to it; no invoice is paid beyond what is open of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ledger.domain.errors import InvalidInputError
from ledger.domain.money import EXACT, ZERO, plain, round_minor, total

# Days overdue from which a bucket begins, and what it is called.
AGES: Mapping[str, int | None] = {
    "not_due": None,
    "days_1_to_30": 1,
    "days_31_to_60": 31,
    "days_61_to_90": 61,
    "days_over_90": 91,
}


@dataclass(frozen=True, slots=True)
class OpenItem:
    """An invoice and what is still open of it: what it asks for, less credits and payments; whether
    its customer disputes any of it."""

    invoice_id: int
    number: str
    customer_id: str
    currency: str
    issued_on: date
    due_on: date
    payable: Decimal
    credited: Decimal
    paid: Decimal
    is_disputed: bool = False

    @property
    def open(self) -> Decimal:
        """What is still to be paid."""
        return EXACT.subtract(self.payable, EXACT.add(self.credited, self.paid))


@dataclass(frozen=True, slots=True)
class Settlement:
    """What pays which invoice, by id, and what is left for later."""

    parts: Mapping[int, Decimal]
    rest: Decimal


def settle_items(amount: Decimal, items: Sequence[OpenItem]) -> Settlement:
    """Pay items in the order given, each up to what is open of it; amount is 0 or more."""
    if amount < 0:
        raise InvalidInputError(f"{plain(amount)} pays nothing.")
    parts: dict[int, Decimal] = {}
    rest = amount
    for item in items:
        part = min(rest, item.open)
        if part > 0:
            parts[item.invoice_id] = part
            rest = EXACT.subtract(rest, part)
    return Settlement(parts, rest)


def oldest_first(items: Iterable[OpenItem]) -> list[OpenItem]:
    """In the order in which they are paid where nobody says which: by day due, then by number."""
    return sorted(items, key=lambda item: (item.due_on, item.number))


def age_of(item: OpenItem, today: date) -> str:
    """The bucket of AGES that an item is in; one due today is not overdue."""
    late = (today - item.due_on).days
    age = "not_due"
    for name, since in AGES.items():
        if since is not None and late >= since:
            age = name
    return age


@dataclass(frozen=True, slots=True)
class Ageing:
    """What a customer owes in one currency, by how long it has been due; of that they dispute
    invoices over `disputed`, and `on_account` is theirs."""

    customer_id: str
    currency: str
    buckets: Mapping[str, Decimal]
    on_account: Decimal
    disputed: Decimal

    @property
    def owed(self) -> Decimal:
        """All buckets."""
        return total(tuple(self.buckets.values()))


def ageing(
    items: Iterable[OpenItem], on_account: Mapping[tuple[str, str], Decimal], today: date
) -> list[Ageing]:
    """By customer and currency, of those who owe something or have something on account."""
    owed: dict[tuple[str, str], list[OpenItem]] = {key: [] for key in on_account}
    for item in items:
        owed.setdefault((item.customer_id, item.currency), []).append(item)
    owing = [
        Ageing(
            *key,
            buckets=_by_age(owed[key], today, nothing),
            on_account=round_minor(on_account.get(key, nothing), key[1]),
            disputed=total([nothing, *(item.open for item in owed[key] if item.is_disputed)]),
        )
        for key, nothing in ((key, round_minor(ZERO, key[1])) for key in sorted(owed))
    ]
    return [each for each in owing if each.owed or each.on_account]


def _by_age(items: Iterable[OpenItem], today: date, nothing: Decimal) -> dict[str, Decimal]:
    buckets = dict.fromkeys(AGES, nothing)
    for item in items:
        age = age_of(item, today)
        buckets[age] = EXACT.add(buckets[age], item.open)
    return buckets
