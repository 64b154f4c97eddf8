"""The shape of answers that something went wrong, as the OpenAPI document says it (RFC 9457)."""

from ledger.wire.answer_fields import ClosedModel
from ledger.wire.answers import Item
from ledger.wire.budget_answers import Shortfall


class FieldProblem(ClosedModel):
    """What is wrong with one field."""

    pointer: str
    found: str
    detail: str


class Problem(ClosedModel):
    """What went wrong (RFC 9457): `pointer` or `errors` name fields, `items` their fates, `budget`
    what one lacks."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    pointer: str | None = None
    errors: list[FieldProblem] | None = None
    budget: Shortfall | None = None
    received: int | None = None
    batch_seq: int | None = None
    counts: dict[str, int] | None = None
    unknown: dict[str, int] | None = None
    items: list[Item] | None = None
