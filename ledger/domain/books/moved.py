"""What a change would move in the books: what stands, what would stand, and the difference."""

from dataclasses import dataclass
from decimal import Decimal

from ledger.domain.money import EXACT


@dataclass(frozen=True, slots=True)
class Moved:
    """A month of an entity, by a currency: what stands of it, and what a change adds to that."""

    entity_id: str
    month: str
    currency: str
    before: Decimal
    difference: Decimal

    @property
    def after(self) -> Decimal:
        """What would stand."""
        return EXACT.add(self.before, self.difference)


@dataclass(frozen=True, slots=True)
class MovedAccount(Moved):
    """What is booked of the month on an account, under a dimension that tells what cost is of; the
    difference is booked in another month where its own is closed."""

    booked_in: str
    account: str
    dimension: str


@dataclass(frozen=True, slots=True)
class MovedCharge(Moved):
    """What usage and fees of a customer are charged."""

    customer_id: str


@dataclass(frozen=True, slots=True)
class MovedCost(Moved):
    """What is allocated of a kind of cost to usage of a customer, or to a line that is nobody's."""

    line: str
    customer: str
    kind: str
