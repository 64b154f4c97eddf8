"""What can go wrong, as one tree.

    LedgerError
    ├── InvalidInputError   what was given cannot be accepted as it is
    │   └── ReasonNeededError   nothing is wrong with it but that nobody says why
    ├── NotFoundError       what was named does not exist (or not for this caller)
    ├── ConflictError       it contradicts what is already recorded
    ├── MissingInputError   a figure was asked for whose inputs are not there yet
    ├── ForbiddenError      this caller may not do this
    ├── OverBudgetError     nothing is wrong with it but that a budget has no room for it
    └── UnavailableError    try again later: nothing is wrong with the request

Every error says what is wrong, where, and what to do; the API turns it into a problem document and
the command line into one line on stderr.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import ClassVar


class LedgerError(Exception):
    """`wrong` says what is wrong and where; `remedy` what to do about it."""

    title: ClassVar[str] = "The ledger refused"

    def __init__(self, wrong: str, remedy: str = "", where: str = "") -> None:
        self.wrong = wrong
        self.remedy = remedy
        self.where = where
        super().__init__(" ".join(part for part in (wrong, remedy) if part))


class InvalidInputError(LedgerError):
    """The input cannot be accepted as it is; `where` names the field, line or parameter."""

    title = "Invalid input"


class ReasonNeededError(InvalidInputError):
    """Nothing is wrong with the input but that nobody says why it is entered."""


class NotFoundError(LedgerError):
    """What was named does not exist, or is not for this caller to see."""

    title = "Not found"


class ConflictError(LedgerError):
    """The input contradicts what is already recorded."""

    title = "Conflict"


class MissingInputError(LedgerError):
    """A figure was asked for before the inputs it needs were entered."""

    title = "Missing input"


class ForbiddenError(LedgerError):
    """This caller may not do this."""

    title = "Forbidden"


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What was needed of a budget of money, tokens or requests, and what there is; `reason` is
    `refused`, or `runaway` where its own history is the ceiling."""

    budget_id: str
    agent_run_id: str
    period_start: datetime
    unit: str
    currency: str | None
    needed: Decimal
    ceiling: Decimal
    used: Decimal
    held: Decimal
    reason: str

    @property
    def left(self) -> Decimal:
        """What might still be held; negative where more was used than there was."""
        return self.ceiling - self.used - self.held


class OverBudgetError(LedgerError):
    """A budget has no room for it; `shortfall` says which, and how much there is."""

    title = "Over budget"

    def __init__(
        self, wrong: str, remedy: str = "", where: str = "", *, shortfall: Shortfall | None = None
    ) -> None:
        super().__init__(wrong, remedy, where)
        self.shortfall = shortfall


class UnavailableError(LedgerError):
    """Nothing is wrong with the request; the ledger cannot take it now."""

    title = "Try again later"
