"""What people enter about money that came, and what they take back of invoices."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ledger.wire.errors import FieldError, problem_at
from ledger.wire.input_fields import (
    Amount,
    Currency,
    Day,
    Identifier,
    Positive,
    PrintedReason,
    Reason,
    Text,
)
from ledger.wire.inputs import InputModel
from ledger.wire.rules import SizeRule


def _above_nothing(value: Decimal) -> Decimal:
    if value <= 0:
        raise FieldError("send an amount above 0")
    return value


PaidAmount = Annotated[Amount, AfterValidator(_above_nothing)]


class NewPayment(InputModel):
    """Money of a customer, under the id that the bank gave it.

    `received` pays the invoice it names, then the oldest that are open, and what is left goes on
    account; `refunded` was paid back of what is on account, `from_account` pays with it.
    """

    entity_id: Identifier
    payment_id: Identifier
    customer_id: Identifier
    kind: Literal["received", "refunded", "from_account"] = "received"
    paid_on: Day
    currency: Currency
    amount: PaidAmount
    invoice: Annotated[Text, Field(max_length=200)] = ""
    reference: Text = ""


class CreditLine(InputModel):
    """What is taken back of a line of an invoice: an amount of the line's sign."""

    line_no: Positive
    amount: Amount


class CreditAsk(InputModel):
    """What of an invoice is credited, and why; without lines all that is left of it.

    Void, an invoice is taken back as if it had never gone out, and its period can be invoiced anew.
    """

    reason: PrintedReason
    void: bool = False
    lines: Annotated[tuple[CreditLine, ...], SizeRule(), Field(max_length=10_000)] = ()

    @model_validator(mode="after")
    def _check_void(self) -> Self:
        if self.void and self.lines:
            raise problem_at(
                "lines", "lines of a void invoice", "leave them out: all of it is void"
            )
        return self

    @model_validator(mode="after")
    def _check_lines(self) -> Self:
        numbers = [line.line_no for line in self.lines]
        twice = next((no for at, no in enumerate(numbers) if no in numbers[:at]), None)
        if twice is not None:
            raise problem_at("lines", f"line {twice} twice", "send each line once")
        return self

    @property
    def amounts(self) -> Mapping[int, Decimal] | None:
        """What is taken back of each line; None of all that is left."""
        return {line.line_no: line.amount for line in self.lines} or None


class DisputeAsk(InputModel):
    """What a customer says is wrong with an invoice, or with one line of it."""

    reason: Reason
    line_no: Positive | None = None


class DisputeResolution(InputModel):
    """How a dispute ended by hand, and why: we `rejected` it, or it was `withdrawn`."""

    outcome: Literal["rejected", "withdrawn"]
    reason: Reason
