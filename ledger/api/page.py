"""The dashboard: files that ask nobody but this API; the charts are uPlot's, kept beside them."""

from importlib.resources import files

from litestar import Response, get
from litestar.params import FromPath

from ledger.api.access import PUBLIC
from ledger.api.headers import PAGE_POLICY
from ledger.domain.errors import NotFoundError

FILES = {
    "index.html": "text/html",
    "style.css": "text/css",
    "app.js": "text/javascript",
    "format.js": "text/javascript",
    "agents.js": "text/javascript",
    "sections.js": "text/javascript",
    "vendor/uPlot.js": "text/javascript",
    "vendor/uPlot.css": "text/css",
    "vendor/uPlot.LICENSE": "text/plain",
}


@get("/", roles=PUBLIC, include_in_schema=False)
async def index() -> Response[bytes]:
    """The page."""
    return _file("index.html")


@get("/web/vendor/{name:str}", roles=PUBLIC, include_in_schema=False)
async def vendored(name: FromPath[str]) -> Response[bytes]:
    """What is another's, as it came."""
    return _file(f"vendor/{name}")


@get("/web/{name:str}", roles=PUBLIC, include_in_schema=False)
async def asset(name: FromPath[str]) -> Response[bytes]:
    """Its style and its script."""
    return _file(name)


def _file(name: str) -> Response[bytes]:
    if name not in FILES:
        raise NotFoundError(f"There is no file {name!r} here.")
    content = files("ledger.web").joinpath(*name.split("/")).read_bytes()
    headers = {"Content-Security-Policy": PAGE_POLICY}
    return Response(content, media_type=FILES[name], headers=headers)


HANDLERS = (index, asset, vendored)
