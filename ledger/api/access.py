"""Who is asking, and what their role may do: one table that every route has a line in."""

from dataclasses import dataclass
from uuid import uuid4

from ledger.api.key_finder import KeyFinder
from ledger.api.parameters import check_parameters
from ledger.api.problems import TooManyFailuresError, UnauthenticatedError
from ledger.api.request import ApiRequest
from ledger.api.state import state_of
from ledger.domain.author import Author
from ledger.domain.errors import ForbiddenError

PUBLIC = frozenset({"public"})
ADMIN = frozenset({"admin"})
HOUSE = frozenset({"admin", "finance"})
SENDERS = frozenset({"admin", "ingest"})
EVERYBODY = frozenset({"admin", "finance", "ingest", "customer"})
READERS = frozenset({"admin", "finance", "customer"})
RESERVERS = frozenset({"admin", "ingest", "customer"})
REQUEST_ID_MAX = 128
# How a route holds a key that is bound to an entity to it; one that does not say refuses such keys.
# Row-level security does; or `entity` in the query must be its own; or what it names is looked up.
BY_ROWS, BY_QUERY, BY_NAMES = "rows", "query", "names"


@dataclass(frozen=True, slots=True)
class Caller:
    """The key behind a request; a customer key has its customer, a bound one its entity."""

    key_id: str
    role: str
    customer_id: str | None
    sources: tuple[str, ...]
    customers: tuple[str, ...]
    tier: str | None
    entity_id: str | None


async def admit(request: ApiRequest) -> None:
    """Give the request an id, find its caller, and refuse what the route's roles do not allow."""
    sent = request.headers.get("x-request-id", "")
    usable = sent.isascii() and sent.isprintable() and 0 < len(sent) <= REQUEST_ID_MAX
    request.scope["request_id"] = sent if usable else uuid4().hex  # type: ignore[typeddict-unknown-key]
    # A route that forgot its roles is the admin's alone; only the OpenAPI document has none.
    unsaid = PUBLIC if request.url.path.startswith("/schema") else ADMIN
    roles = request.route_handler.opt.get("roles", unsaid)
    if roles is PUBLIC:
        check_parameters(request)
        return
    state = state_of(request)
    caller = await _find_caller(request, state.sender_keys if roles is SENDERS else state.keys)
    if caller.role not in roles:
        raise ForbiddenError(
            f"A key of role {caller.role} may not do this.",
            f"Use a key of role {' or '.join(sorted(roles))}.",
        )
    if caller.entity_id is not None:
        _hold_to_entity(request, caller.entity_id)
    request.scope["caller"] = caller  # type: ignore[typeddict-unknown-key]
    request.scope["arriving"].of(caller.key_id)  # type: ignore[typeddict-item]
    state.quotas.take(caller.key_id)
    check_parameters(request)


def _hold_to_entity(request: ApiRequest, entity_id: str) -> None:
    held = request.route_handler.opt.get("bound")
    if held is None:
        raise ForbiddenError(
            f"This key is bound to entity {entity_id}, and this concerns others.",
            "Use a key that is bound to no entity.",
        )
    if held == BY_QUERY and request.query_params.getall("entity", []) != [entity_id]:
        raise ForbiddenError(
            f"This key is bound to entity {entity_id}.", f"Ask with entity={entity_id}."
        )


def caller_of(request: ApiRequest) -> Caller:
    """The caller of an admitted request."""
    caller = request.scope["caller"]  # type: ignore[typeddict-item]
    assert isinstance(caller, Caller)
    return caller


def author_of(request: ApiRequest) -> Author:
    """Who writes: the key, the `X-Reason` header or what the request does, and its id."""
    said = request.headers.get("x-reason", "").strip()
    reason = said or f"{request.method} {request.url.path}"
    request_id = str(request.scope.get("request_id"))
    return Author(caller_of(request).key_id, reason, request_id, stated=bool(said))


def unknown_key() -> UnauthenticatedError:
    """What is said of a key that is none, or none any more."""
    return UnauthenticatedError("The API key is unknown or revoked.", "Ask an admin for a new one.")


async def _find_caller(request: ApiRequest, keys: KeyFinder) -> Caller:
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not text:
        raise UnauthenticatedError("There is no API key.", "Send Authorization: Bearer tlk_….")
    state, address = state_of(request), request.client.host if request.client else ""
    async with state.failures.in_order(address, text):
        # Where its statements find the key again, one that was found before will do until then.
        known = keys.known(text.strip()) if request.route_handler.opt.get("asks") else None
        key = known or await keys.find(text.strip())
    if key is None:
        if state.failures.failed(address):
            raise TooManyFailuresError("Too many keys from here are none.", "Send one that is.")
        raise unknown_key()
    state.failures.succeeded(text)
    return Caller(
        key.key_id,
        key.role,
        key.customer_id,
        key.sources,
        key.customers,
        key.tier,
        key.entity_id,
    )
