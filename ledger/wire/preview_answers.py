"""The shape of a preview, as the OpenAPI document says it."""

from ledger.wire.answer_fields import Amount, ClosedModel, Currency


class Moved(ClosedModel):
    """A month of an entity: what stands of it, what would, and the difference."""

    entity_id: str
    month: str
    currency: Currency
    before: Amount
    after: Amount
    difference: Amount


class MovedAccount(Moved):
    """What is booked of the month on an account, debit positive; `booked_in` is the month of the
    difference, which is another where its own is closed."""

    booked_in: str
    account: str
    name: str
    dimension: str


class MovedCharge(Moved):
    """What usage and fees of a customer are charged."""

    customer_id: str


class MovedCost(Moved):
    """What is allocated of a kind of cost to usage of a customer, or to a line that is nobody's."""

    line: str
    customer: str
    kind: str


class ChangePreview(ClosedModel):
    """What a change would move in the books: nothing was entered.

    `needs_reason` says why it will be refused without a reason; `undone` what could not be worked
    out, and would wait.
    """

    accounts: list[MovedAccount]
    charges: list[MovedCharge]
    costs: list[MovedCost]
    needs_reason: str | None
    undone: list[str]
