"""What people enter to close months of an entity, and to open them again."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ledger.wire.errors import problem_at
from ledger.wire.fields import Name
from ledger.wire.input_fields import Identifier, Reason
from ledger.wire.inputs import InputModel
from ledger.wire.limits import VALUES_MAX


class MonthAsk(InputModel):
    """A month, as 2026-08, that closes, softly or for good, or opens again; `accept` names what may
    stay undone as it closes, and a reason says why."""

    entity_id: Identifier
    month: Annotated[Name, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
    state: Literal["open", "soft_closed", "closed"] = "closed"
    accept: Annotated[tuple[Name, ...], Field(max_length=VALUES_MAX, strict=False)] = ()
    reason: Reason | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.reason is None and (self.accept or self.state == "open"):
            raise problem_at("reason", "no reason", "say why")
        return self
