"""Enters webhooks, makes their secrets, and switches them on and off."""

import secrets
from datetime import datetime

from ledger.domain.author import Author
from ledger.domain.billing.webhook import SECRET_BYTES, check_target, secret_text
from ledger.domain.errors import ConflictError, NotFoundError
from ledger.flows.reference.supersede import keep_write, writing
from ledger.settings import Settings
from ledger.store import parties
from ledger.store.billing import webhooks as store
from ledger.store.billing.webhooks import Webhook
from ledger.store.connect import draw_batch_seq
from ledger.store.queries import Connection
from ledger.wire.webhook_inputs import NewWebhook


async def enter_webhook(connection: Connection, new: NewWebhook, author: Author) -> str:
    """Record a webhook; returns its id. The same again writes nothing, another is a conflict.

    InvalidInputError where its address is of the house, unless the settings let that pass.
    """
    check_target(new.url, allow_inside=Settings().webhooks_inside)
    webhook = Webhook(**new.model_dump() | {"events": tuple(sorted(set(new.events)))})
    async with writing(connection):
        await _check_customer(connection, webhook)
        known = await store.find_webhook(connection, webhook.webhook_id)
        if known == webhook:
            return webhook.webhook_id
        if known is not None:
            raise ConflictError(
                f"The webhook {webhook.webhook_id} is already recorded with other content.",
                "Use another id, and switch this one off.",
                "webhook_id",
            )
        batch_seq = await draw_batch_seq(connection)
        await store.insert_webhook(connection, webhook, batch_seq=batch_seq)
        await keep_write(
            connection,
            author,
            batch_seq=batch_seq,
            action="enter webhook",
            subject=webhook.webhook_id,
            detail=new.model_dump(),
        )
    return webhook.webhook_id


async def make_secret(
    connection: Connection, webhook_id: str, author: Author, *, now: datetime
) -> str:
    """Make the secret that signs from now on; its text exists nowhere else.

    The one before signs too for a day. NotFoundError where there is no such webhook.
    """
    secret = secrets.token_bytes(SECRET_BYTES)
    async with writing(connection):
        await _check_known(connection, webhook_id)
        await store.insert_secret(connection, webhook_id, secret, now=now)
        await _keep(connection, author, "make webhook secret", webhook_id, {})
    return secret_text(secret)


async def switch_webhook(
    connection: Connection, webhook_id: str, author: Author, *, active: bool, now: datetime
) -> None:
    """Tell it nothing any more, or go on; what it misses waits for it. NotFoundError."""
    async with writing(connection):
        await _check_known(connection, webhook_id)
        await store.insert_state(
            connection, webhook_id, active=active, reason=author.reason, now=now
        )
        await _keep(connection, author, "switch webhook", webhook_id, {"active": active})


async def _check_known(connection: Connection, webhook_id: str) -> None:
    if await store.find_webhook(connection, webhook_id) is None:
        raise NotFoundError(f"There is no webhook {webhook_id}.", "List them to see their ids.")


async def _keep(
    connection: Connection, author: Author, action: str, subject: str, detail: dict[str, bool]
) -> None:
    batch_seq = await draw_batch_seq(connection)
    await keep_write(
        connection, author, batch_seq=batch_seq, action=action, subject=subject, detail=detail
    )


async def _check_customer(connection: Connection, webhook: Webhook) -> None:
    if webhook.customer_id is None:
        return
    customer = await parties.find_customer(connection, webhook.customer_id)
    if customer is None or customer.entity_id != webhook.entity_id:
        raise NotFoundError(
            f"There is no customer {webhook.customer_id} of entity {webhook.entity_id}.",
            "Look them up with `tokenledger list customers`.",
            "customer_id",
        )
