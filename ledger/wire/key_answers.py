"""The shapes of answers about API keys, as the OpenAPI document says them."""

from typing import Literal

from ledger.wire.answer_fields import ClosedModel, Moment


class Key(ClosedModel):
    """An API key without its secret."""

    key_id: str
    role: Literal["admin", "finance", "ingest", "customer"]
    name: str
    entity_id: str | None
    customer_id: str | None
    sources: list[str]
    customers: list[str]
    tier: str | None
    created_at: Moment
    revoked_at: Moment | None


class Caller(ClosedModel):
    """Whose key asked: its role, and what it is bound to."""

    key_id: str
    role: Literal["admin", "finance", "ingest", "customer"]
    entity_id: str | None
    customer_id: str | None
    sources: list[str]
    customers: list[str]
    tier: str | None


class NewKey(ClosedModel):
    """A key that was made; its text is shown this once."""

    key_id: str
    key: str


class RevokedKey(ClosedModel):
    """A key that opens nothing any more."""

    key_id: str
    revoked: bool
