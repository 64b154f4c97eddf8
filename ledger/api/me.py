"""Who is asking: what a key is, and to what it is bound."""

from litestar import Response, get

from ledger.api.access import BY_ROWS, EVERYBODY, caller_of
from ledger.api.answer import answer
from ledger.api.request import ApiRequest


@get("/v1/me", roles=EVERYBODY, bound=BY_ROWS)
async def me(request: ApiRequest) -> Response[bytes]:
    """Who asks: the role of its key, and the entity, customer and sources it is bound to; null, or
    none, where it is bound to none. So a program knows what it may see before it asks for it."""
    caller = caller_of(request)
    return answer(
        {
            "key_id": caller.key_id,
            "role": caller.role,
            "entity_id": caller.entity_id,
            "customer_id": caller.customer_id,
            "sources": caller.sources,
            "customers": caller.customers,
            "tier": caller.tier,
        }
    )
