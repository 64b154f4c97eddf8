"""What every answer says of itself to a browser and to caches between."""

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


async def add_headers(message: Message, _: Scope) -> None:
    """Add what an answer does not say already."""
    if message["type"] == "http.response.start":
        said = MutableScopeHeaders.from_message(message)
        for name, value in HEADERS.items():
            said.setdefault(name, value)
