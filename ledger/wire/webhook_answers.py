"""The shapes of answers about webhooks and notices, as the OpenAPI document says them."""

from typing import Literal

from ledger.wire.answer_fields import ClosedModel, Moment
from ledger.wire.webhook_inputs import NoticeEvent


class Webhook(ClosedModel):
    """Where a system is told what happened; `secret_since` is null until its secret was made."""

    webhook_id: str
    entity_id: str
    customer_id: str | None
    url: str
    events: list[NoticeEvent]
    entered_at: Moment
    active: bool
    reason: str
    secret_since: Moment | None


class WebhookSecret(ClosedModel):
    """What messages are signed with; it is shown this once."""

    webhook_id: str
    secret: str


class SwitchedWebhook(ClosedModel):
    """Whether a webhook is told what happens."""

    webhook_id: str
    active: bool


class Notice(ClosedModel):
    """What happened; `waiting` are the webhooks that it is still to reach."""

    notice_id: str
    event: NoticeEvent
    entity_id: str
    customer_id: str
    subject: str
    noticed_at: Moment
    data: dict[str, str | int | None]
    waiting: int


class Replayed(ClosedModel):
    """To how many webhooks a notice goes again."""

    notice_id: str
    webhooks: int


class NoticeDelivery(ClosedModel):
    """What came of a try; without `next_at` it is not tried any more."""

    notice_id: str
    webhook_id: str
    event: NoticeEvent
    tried_at: Moment
    outcome: Literal["delivered", "failed", "refused"]
    status: int | None
    detail: str
    next_at: Moment | None
