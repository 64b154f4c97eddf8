"""The HTTP application: routes, who may use them, and how errors leave."""

from litestar import Litestar
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from ledger.api import events, exports, inputs, invoices, operations, page, reports, waiting
from ledger.api.access import admit
from ledger.api.arriving import MIB, Entrance
from ledger.api.headers import add_headers
from ledger.api.problems import to_problem
from ledger.api.state import lifespan_of
from ledger.settings import Settings

HANDLERS = (
    *operations.HANDLERS,
    events.post_events,
    *inputs.HANDLERS,
    *reports.HANDLERS,
    *invoices.HANDLERS,
    *waiting.HANDLERS,
    *exports.HANDLERS,
    *page.HANDLERS,
)


def create_app(settings: Settings) -> Litestar:
    """The application; it opens its pools when it starts."""
    return Litestar(
        route_handlers=list(HANDLERS),
        lifespan=[lifespan_of(settings)],
        middleware=[Entrance],
        before_request=admit,
        before_send=[add_headers],
        exception_handlers={Exception: to_problem},
        request_max_body_size=settings.body_limit_mib * MIB,
        openapi_config=OpenAPIConfig(
            title="tokenledger",
            version="1",
            path="/schema",
            render_plugins=[JsonRenderPlugin(path="/openapi.json")],
        ),
    )
