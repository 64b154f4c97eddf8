"""The shapes of answers about money that is held in advance, as the OpenAPI document says them."""

from typing import Literal

from ledger.wire.answer_fields import Amount, ClosedModel, Currency, Day, Moment
from ledger.wire.answers import Dated


class Grant(ClosedModel):
    """Credit of a customer: `amount` is what was drawn, what expired and what is left."""

    grant_id: str
    entity_id: str
    customer_id: str
    kind: Literal["prepaid", "promotional"]
    currency: Currency
    amount: Amount
    drawn: Amount
    expired: Amount
    left: Amount
    priority: int
    meters: list[str]
    models: list[str]
    granted_on: Day
    starts_on: Day
    expires_on: Day | None
    order_id: int | None
    reference: str


class CreditBalance(ClosedModel):
    """A customer's grants in one currency; `usable` is what is left of those that pay today."""

    customer_id: str
    entity_id: str
    currency: Currency
    granted: Amount
    drawn: Amount
    expired: Amount
    left: Amount
    usable: Amount
    low_balance: Amount | None
    top_up_amount: Amount | None


class LowBalance(ClosedModel):
    """A customer's credit of which less can be used today than its top-up rule says."""

    entity_id: str
    customer_id: str
    currency: Currency
    usable: Amount
    low_balance: Amount


class CreditEvent(ClosedModel):
    """That a balance was low or used up, that a top-up was ordered (under this number), or that a
    grant expired with something left."""

    event_id: int
    entity_id: str
    customer_id: str
    currency: Currency
    kind: Literal["low_balance", "exhausted", "top_up_ordered", "expired"]
    about: str
    amount: Amount
    noticed_at: Moment


class TopUpRule(Dated):
    """When a customer's balance is low, and how much is ordered then."""

    customer_id: str
    currency: Currency
    low_balance: Amount
    top_up_amount: Amount | None
