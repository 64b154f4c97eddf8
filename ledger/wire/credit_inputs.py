"""What people enter about money that is held in advance."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ledger.wire.errors import problem_at
from ledger.wire.input_fields import Currency, Day, Identifier, Label, Meter, Text
from ledger.wire.inputs import DatedInput, InputModel
from ledger.wire.receivable_inputs import PaidAmount
from ledger.wire.rules import SizeRule

SCOPE_MAX = 100
PRIORITY_MAX = 1_000


class NewGrant(InputModel):
    """Credit of a customer, for usage from `starts_on` on and before `expires_on`, by days of the
    entity.

    `prepaid` was paid for, outside of any invoice; `promotional` is given. Usage draws grants of
    the lowest `priority` first, of these what expires first, then the oldest. Without `meters` or
    `models` it pays for any. `order_id` is the top-up order that it came of.
    """

    entity_id: Identifier
    grant_id: Identifier
    customer_id: Identifier
    kind: Literal["prepaid", "promotional"] = "prepaid"
    currency: Currency
    amount: PaidAmount
    priority: Annotated[int, Field(ge=0, le=PRIORITY_MAX)] = 0
    meters: Annotated[tuple[Meter, ...], SizeRule(), Field(max_length=SCOPE_MAX)] = ()
    models: Annotated[tuple[Label, ...], SizeRule(), Field(max_length=SCOPE_MAX)] = ()
    granted_on: Day
    starts_on: Day | None = None
    expires_on: Day | None = None
    order_id: Annotated[int, Field(ge=1, le=2**62)] | None = None
    reference: Text = ""

    @model_validator(mode="after")
    def _check_days(self) -> Self:
        since = self.starts_on or self.granted_on
        if self.expires_on is not None and self.expires_on <= since:
            action = f"send a day after {since}, from which on it pays for nothing"
            raise problem_at("expires_on", self.expires_on, action)
        if self.order_id is not None and self.kind == "promotional":
            raise problem_at("order_id", self.order_id, "leave it out: what is given has no order")
        return self


class NewTopUpRule(DatedInput):
    """As less than `low_balance` is left of what a customer's grants may pay, that is said once,
    and with `top_up_amount` so much is ordered; who pays enters the grant that it comes to."""

    customer_id: Identifier
    currency: Currency
    low_balance: PaidAmount
    top_up_amount: PaidAmount | None = None
