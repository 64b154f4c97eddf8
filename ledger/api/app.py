"""The HTTP application: routes, who may use them, and how errors leave."""

from litestar import Litestar
from litestar.types import LifeSpanReceive, LifeSpanScope, LifeSpanSend, Receive, Scope, Send

from ledger.api import (
    bank,
    closes,
    coming,
    disputes,
    dunning,
    events,
    exports,
    grouped,
    inputs,
    invoices,
    logos,
    me,
    openapi,
    operations,
    options,
    page,
    reports,
    reservations,
    usage_statement,
    waiting,
    webhooks,
)
from ledger.api.access import admit
from ledger.api.apart import kind_of
from ledger.api.arriving import MIB, Entrance
from ledger.api.headers import add_headers
from ledger.api.parameters import path_of
from ledger.api.problems import to_problem
from ledger.api.request import ApiRequest
from ledger.api.state import Beside, lifespan_of, state_of
from ledger.api.streaming import Streamed
from ledger.settings import Settings

HANDLERS = (
    *operations.HANDLERS,
    events.post_events,
    *inputs.HANDLERS,
    *logos.HANDLERS,
    me.me,
    *reservations.HANDLERS,
    *reports.HANDLERS,
    *invoices.HANDLERS,
    *usage_statement.HANDLERS,
    *bank.HANDLERS,
    *closes.HANDLERS,
    *disputes.HANDLERS,
    *dunning.HANDLERS,
    *grouped.HANDLERS,
    *coming.HANDLERS,
    *waiting.HANDLERS,
    *webhooks.HANDLERS,
    *exports.HANDLERS,
    *page.HANDLERS,
    openapi.show_document,
)

ALONE = Beside()


async def _enter(request: ApiRequest) -> Streamed | None:
    """Admit a request, and hand on what another process does."""
    await admit(request)
    kind, apart = kind_of(request), state_of(request).apart
    return await apart.ask(request, kind) if kind and apart else None


class _Application(Litestar):
    async def __call__(
        self,
        scope: Scope | LifeSpanScope,
        receive: Receive | LifeSpanReceive,
        send: Send | LifeSpanSend,
    ) -> None:
        """Route by the path as it was sent: a slash inside a name is no border."""
        raw = scope.get("raw_path")
        sent = path_of(raw) if isinstance(raw, bytes) else None
        if sent is not None:
            scope["path"] = sent  # type: ignore[typeddict-unknown-key]
        await super().__call__(scope, receive, send)


def create_app(settings: Settings, *, beside: Beside = ALONE) -> Litestar:
    """The application; it opens its pools when it starts."""
    return _Application(
        route_handlers=[*options.options_of(HANDLERS), *HANDLERS],
        lifespan=[lifespan_of(settings, beside)],
        middleware=[Entrance],
        before_request=_enter,
        before_send=[add_headers],
        exception_handlers={Exception: to_problem},
        request_max_body_size=settings.body_limit_mib * MIB,
        openapi_config=None,
        # Its own would take the place of the handler that lets no secret through.
        logging_config=None,
    )
