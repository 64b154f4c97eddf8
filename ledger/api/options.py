"""OPTIONS of every path: by which methods it can be asked, whoever asks."""

from collections import defaultdict
from collections.abc import Iterable

from litestar import Response, route
from litestar.handlers import HTTPRouteHandler

from ledger.api.access import BY_ROWS, EVERYBODY


def options_of(handlers: Iterable[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
    """An answer to OPTIONS for every path of the handlers.

    They are registered before the handlers: the framework adds its own to a path that has none, and
    that knows only the handler of the path that it met first.
    """
    methods: defaultdict[str, set[str]] = defaultdict(lambda: {"OPTIONS"})
    for handler in handlers:
        for path in handler.paths:
            methods[path] |= handler.http_methods
    return [_told(path, ", ".join(sorted(methods[path]))) for path in methods]


def _told(path: str, allowed: str) -> HTTPRouteHandler:
    async def tell() -> Response[bytes]:
        return Response(b"", status_code=204, headers={"Allow": allowed})

    asked = route(
        path, http_method="OPTIONS", include_in_schema=False, roles=EVERYBODY, bound=BY_ROWS
    )
    return asked(tell)
