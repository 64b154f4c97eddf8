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


class OverBudgetError(LedgerError):
    """A budget has no room for it."""

    title = "Over budget"


class UnavailableError(LedgerError):
    """Nothing is wrong with the request; the ledger cannot take it now."""

    title = "Try again later"
