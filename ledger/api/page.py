"""The dashboard: three files that ask nobody but this API."""

from importlib.resources import files

from litestar import Response, get
from litestar.params import FromPath

from ledger.api.access import PUBLIC
from ledger.api.headers import PAGE_POLICY
from ledger.domain.errors import NotFoundError

FILES = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
}


@get("/", roles=PUBLIC, include_in_schema=False)
async def index() -> Response[bytes]:
    """The page."""
    return _file("index.html")


@get("/web/{name:str}", roles=PUBLIC, include_in_schema=False)
async def asset(name: FromPath[str]) -> Response[bytes]:
    """Its style and its script."""
    return _file(name)


def _file(name: str) -> Response[bytes]:
    if name not in FILES:
        raise NotFoundError(f"There is no file {name!r} here.")
    content = (files("ledger.web") / name).read_bytes()
    headers = {"Content-Security-Policy": PAGE_POLICY}
    return Response(content, media_type=FILES[name], headers=headers)


HANDLERS = (index, asset)
