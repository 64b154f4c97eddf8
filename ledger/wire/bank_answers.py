"""The shapes of answers about what banks booked, as the OpenAPI document says them."""

from typing import Literal

from ledger.wire.answer_fields import Amount, ClosedModel, Currency, Day


class BankEntry(ClosedModel):
    """An entry of a bank and what became of it; `reason` is why it waits or was dismissed."""

    entry_id: str
    entity_id: str
    account: str
    bank_reference: str
    booked_on: Day
    currency: Currency
    amount: Amount
    payer: str
    payer_account: str
    reference: str
    state: Literal["paid", "waiting", "dismissed"]
    payments: list[str]
    reason: str


class BankOutcome(ClosedModel):
    """What became of an entry: whose it is and its payments, or why it waits for a person."""

    entry_id: str
    amount: Amount
    currency: Currency
    payer: str
    reference: str
    customer_id: str | None
    payments: list[str]
    reason: str


class ImportedStatement(ClosedModel):
    """How many entries were taken, known before, and not booked yet; what became of those taken."""

    taken: int
    known: int
    skipped: int
    outcomes: list[BankOutcome]


class DismissedEntry(ClosedModel):
    """That an entry waits for nobody."""

    entry_id: str
    dismissed: bool
