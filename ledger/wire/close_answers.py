"""The shapes of answers about months that close, as the OpenAPI document says them."""

from typing import Literal

from ledger.wire.answer_fields import ClosedModel, Moment

State = Literal["open", "soft_closed", "closed"]


class Close(ClosedModel):
    """A change of a month of an entity: who made it, when and why; a closed one has the lines of
    its journal, a seal over them, and how much was left to do of what was accepted."""

    entity_id: str
    month: str
    change_no: int
    state: State
    changed_at: Moment
    actor: str
    reason: str
    accepted: dict[str, int]
    lines: int | None
    seal: str | None


class ChangedMonth(ClosedModel):
    """A month as it is from now on, from when to when."""

    entity_id: str
    month: str
    state: State
    since: Moment
    until: Moment
    lines: int | None
    seal: str | None


class Matter(ClosedModel):
    """Something to be done before a month closes; `must`: it cannot be accepted undone."""

    name: str
    count: int
    about: str
    to_do: str
    must: bool


class Months(ClosedModel):
    """Every change of an entity's months, which closes next (null: none is over), and what is to be
    done before."""

    entity_id: str
    changes: list[Close]
    next: str | None
    matters: list[Matter]
