"""What stands on accounts, as a report answers it."""

from typing import Literal

from ledger.wire.answer_fields import Amount, ClosedModel, Currency, Moment


class AccountBalance(ClosedModel):
    """An account in one currency: what entries booked for before the period came to, what those of
    the period moved, and both together; debit positive."""

    account: str
    name: str
    type: Literal["asset", "liability", "equity", "income", "expense"]
    currency: Currency
    opening: Amount
    moved: Amount
    closing: Amount


class Balances(ClosedModel):
    """The trial balance of an entity as known at a cut-off: each column sums to zero in each
    currency."""

    entity_id: str
    since: Moment
    until: Moment
    cut_off_id: int
    accounts: list[AccountBalance]
