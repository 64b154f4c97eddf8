"""Webhooks beyond what is entered of them: their secrets, on and off, and notices sent again."""

from dataclasses import replace

from litestar import Response, post
from litestar.params import FromPath

from ledger import clock
from ledger.api.access import BY_NAMES, HOUSE
from ledger.api.request import ApiRequest
from ledger.api.session import read_body, write
from ledger.domain.author import Author
from ledger.domain.errors import InvalidInputError
from ledger.flows.billing.deliver import replay_notice
from ledger.flows.reference.enter_webhook import make_secret, switch_webhook
from ledger.store.queries import Connection
from ledger.wire.webhook_inputs import WebhookSwitch


@post("/v1/webhooks/{webhook:str}/secret", roles=HOUSE, bound=BY_NAMES)
async def make_webhook_secret(request: ApiRequest, webhook: FromPath[str]) -> Response[bytes]:
    """Make the secret that signs from now on; it is in this answer and nowhere else.

    The one before signs too for a day.
    """
    if "idempotency-key" in request.headers:
        raise InvalidInputError(
            "A secret is shown once, and no answer with one is kept.", "Leave out Idempotency-Key."
        )

    async def work(connection: Connection, author: Author) -> dict[str, str]:
        return {
            "webhook_id": webhook,
            "secret": await make_secret(connection, webhook, author, now=clock.now()),
        }

    return await write(request, work, concerns={"webhook_id": webhook})


@post(
    "/v1/webhooks/{webhook:str}/state",
    roles=HOUSE,
    bound=BY_NAMES,
    status_code=200,
    operation_id="switch_webhook",
)
async def switch(request: ApiRequest, webhook: FromPath[str]) -> Response[bytes]:
    """Switch a webhook off or on; what it misses meanwhile waits for it."""
    asked = await read_body(request, WebhookSwitch)

    async def work(connection: Connection, author: Author) -> dict[str, str | bool]:
        why = replace(author, reason=asked.reason)
        await switch_webhook(connection, webhook, why, active=asked.active, now=clock.now())
        return {"webhook_id": webhook, "active": asked.active}

    return await write(request, work, concerns={"webhook_id": webhook}, status=200)


@post(
    "/v1/notices/{notice:str}/replay",
    roles=HOUSE,
    bound=BY_NAMES,
    status_code=200,
    operation_id="replay_notice",
)
async def replay(request: ApiRequest, notice: FromPath[str]) -> Response[bytes]:
    """Send a notice again, under its id, to every webhook that wants it."""

    async def work(connection: Connection, author: Author) -> dict[str, str | int]:
        queued = await replay_notice(connection, notice, author, now=clock.now())
        return {"notice_id": notice, "webhooks": queued}

    return await write(request, work, concerns={"notice_id": notice}, status=200)


HANDLERS = (make_webhook_secret, switch, replay)
