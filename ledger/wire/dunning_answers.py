"""The shapes of answers about reminding customers, as the OpenAPI document says them."""

from ledger.wire.answer_fields import Amount, ClosedModel, Currency, Day
from ledger.wire.answers import Dated


class DunningPolicy(Dated):
    """After how many days overdue an entity writes its first, second … and last letter."""

    entity_id: str
    reminder_days: list[int]


class DunningLetter(ClosedModel):
    """A letter: as the how manieth reminder, about how much of which invoices."""

    letter_id: int
    entity_id: str
    customer_id: str
    level: int
    written_on: Day
    currency: Currency
    open: Amount
    invoices: list[str]


class WrittenLetter(ClosedModel):
    """A letter that a run wrote."""

    letter_id: int
    customer_id: str
    currency: Currency
    level: int
    open: Amount
    invoices: list[str]


class DunningRun(ClosedModel):
    """The letters of a run, and why those of other customers could not be written."""

    today: Day
    letters: list[WrittenLetter]
    refused: list[str]
