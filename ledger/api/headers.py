"""What every answer says of itself to a browser and to caches between."""

from urllib.parse import quote

from litestar.datastructures import MutableScopeHeaders
from litestar.types import Message, Scope

# Nothing here is a page, but for the dashboard, which says more.
POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; "
    "img-src 'self' data: blob:; connect-src 'self'; frame-src blob:; form-action 'none'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
}


def disposition(kind: str, filename: str) -> str:
    """A Content-Disposition of RFC 6266; whatever the name holds, one line."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in " ._-") else "_" for c in filename)
    encoded = quote(filename, safe="", errors="replace")
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{encoded}"


async def add_headers(message: Message, _: Scope) -> None:
    """Add what an answer does not say already."""
    if message["type"] == "http.response.start":
        said = MutableScopeHeaders.from_message(message)
        for name, value in HEADERS.items():
            said.setdefault(name, value)
