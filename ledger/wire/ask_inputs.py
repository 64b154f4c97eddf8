"""What people ask to be done: to end, to decide what waits, to invoice."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ledger.wire.errors import problem_at
from ledger.wire.fields import NAME_CHARS_MAX, Name, Names
from ledger.wire.input_fields import DayOrInstant, Identifier, Label, Reason, Text
from ledger.wire.inputs import DatedInput, InputModel
from ledger.wire.limits import VALUES_MAX

# What may end, as the API's paths have it.
EndingKind = Literal[
    "aliases",
    "assets",
    "budgets",
    "deployments",
    "dunning-policies",
    "energy-meters",
    "idle-policies",
    "prices",
    "pues",
    "site-costs",
    "subscriptions",
    "tax-rates",
    "tax-registrations",
    "tax-treatments",
    "top-up-rules",
    "weight-sets",
]


class EndAsk(DatedInput):
    """From when on what is recorded under an id is so no longer, or until when it pauses.

    Where the id has several, as a rate card has prices, `of` has fields that tell which is meant;
    null is one that says nothing.
    """

    kind: EndingKind
    id: Label
    of: Mapping[str, str | int | None] = Field(default_factory=dict, max_length=VALUES_MAX)


class Dismissal(InputModel):
    """Why nobody waits any more for something that was refused."""

    reason: Reason


class SuspenseDismissal(InputModel):
    """Why nobody will ever own what waits under a name; the empty text is events without one."""

    customer_ref: Annotated[str, Field(max_length=NAME_CHARS_MAX)]
    reason: Reason


class ConflictResolution(InputModel):
    """Which side of a conflict it was, and why; `id` is the one it is to have, if sent again."""

    resolution: Literal["kept", "corrected", "resent"]
    reason: Reason
    id: Name | None = None


class InvoiceAsk(InputModel):
    """Which invoice: of the billing period that holds `at`, a moment or a day of its zone; and what
    issuing it lets pass: usage without a price, a period that is not over, a second run."""

    subscription_id: Identifier
    at: DayOrInstant
    allow_unpriced: bool = False
    allow_open_period: bool = False
    supplementary: bool = False


class InvoiceRunAsk(InputModel):
    """All invoices of an entity, of the billing periods that hold `at`, a moment or a day of each
    subscription's zone; what issuing them lets pass, and whose go out though they are held, why."""

    entity_id: Identifier
    at: DayOrInstant
    allow_unpriced: bool = False
    allow_open_period: bool = False
    release: Names = ()
    reason: Text = ""

    @model_validator(mode="after")
    def _released_with_a_reason(self) -> Self:
        if self.release and not self.reason:
            raise problem_at("reason", "no reason", "say why what is held goes out")
        return self
