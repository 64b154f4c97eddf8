"""How handlers reach the database: reads as the caller, writes as the worker, safe to repeat."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from hashlib import blake2b
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
from litestar import Response

from ledger import clock
from ledger.api.access import author_of, caller_of, unknown_key
from ledger.api.answer import JSON, answer, encode
from ledger.api.body import whole_body
from ledger.api.problems import MalformedBodyError
from ledger.api.request import ApiRequest
from ledger.api.state import WAIT_S, ApiState, state_of
from ledger.domain.author import Author
from ledger.domain.errors import ConflictError
from ledger.flows.preview import Change, preview_change
from ledger.flows.reference.bound import check_bound
from ledger.flows.reference.count_entered import count_entered
from ledger.flows.reference.supersede import writing
from ledger.reports.books.preview import preview_json
from ledger.store import api_reads
from ledger.store.asking import AskingByKey, KeyRefusedError
from ledger.store.identity import Identity, say_who_asks
from ledger.store.queries import Connection
from ledger.wire.errors import LineError
from ledger.wire.inputs import InputModel, read_input
from ledger.wire.ndjson import MARK, decode_line

M = TypeVar("M", bound=InputModel)
Work = Callable[[Connection, Author], Awaitable[Any]]
Seal = Callable[[Any], Awaitable[None]]
LongWork = Callable[[Connection, Author, Seal], Awaitable[Any]]
KEY_MAX = 200
log = logging.getLogger(__name__)


@asynccontextmanager
async def reading(request: ApiRequest) -> AsyncIterator[Connection]:
    """A read-only transaction in which row-level security knows who asks."""
    caller = caller_of(request)
    state = state_of(request)
    session = AsyncExitStack()
    try:
        connection = await session.enter_async_context(state.api.acquire(timeout=WAIT_S))
        await session.enter_async_context(connection.transaction(readonly=True))
        identity = Identity(caller.role, caller.customer_id, caller.entity_id)
        await say_who_asks(connection, identity, secret=state.identity_secret)
        yield connection
    finally:
        _end_later(state, session)


@asynccontextmanager
async def asking(request: ApiRequest) -> AsyncIterator[AskingByKey]:
    """For what is read by single statements: each finds the key again, says who asks, and reads.

    A route that begins with it says `asks=True`: its caller may be one that was found before.
    """
    caller, state = caller_of(request), state_of(request)
    session = AsyncExitStack()
    try:
        connection = await session.enter_async_context(state.api.acquire(timeout=WAIT_S))
        yield AskingByKey(connection, caller.key_id, state.identity_secret)
    except KeyRefusedError:
        state.keys.forget(caller.key_id)
        raise unknown_key() from None
    finally:
        _end_later(state, session)


def _end_later(state: ApiState, session: AsyncExitStack) -> None:
    """Nothing that was read hangs on how its session is given back: no answer waits for that."""
    ending = asyncio.create_task(_end(session))
    state.ending.add(ending)
    ending.add_done_callback(state.ending.discard)


async def _end(session: AsyncExitStack) -> None:
    try:
        await session.aclose()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        log.debug("a connection was lost after it was read from", exc_info=True)


@asynccontextmanager
async def working(
    request: ApiRequest, concerns: Mapping[str, Any] | None = None
) -> AsyncIterator[Connection]:
    """A connection of the worker, for flows and for reports of the house.

    ForbiddenError where a key is bound to an entity and `concerns` names something of another.
    """
    bound_to = caller_of(request).entity_id
    async with state_of(request).worker.acquire(timeout=WAIT_S) as connection:
        if concerns is not None and bound_to is not None:
            await check_bound(connection, bound_to, concerns)
        yield connection


@asynccontextmanager
async def sending(
    request: ApiRequest, opening: AbstractAsyncContextManager[Connection]
) -> AsyncIterator[Connection]:
    """A connection for an answer that is sent as it is read; there are few such answers at once."""
    with state_of(request).streams.slot(caller_of(request).key_id):
        async with opening as connection:
            yield connection


async def read_body(request: ApiRequest, model: type[M]) -> M:
    """The JSON body as an input model; every problem of it is named."""
    return read_input(model, await read_object(request))


async def read_object(request: ApiRequest) -> dict[str, object]:
    """The JSON body as an object."""
    try:
        return decode_line((await whole_body(request)).removeprefix(MARK))
    except LineError as error:
        raise MalformedBodyError(f"The body is not a JSON object: {error}") from error


async def write(
    request: ApiRequest,
    work: Work,
    *,
    concerns: Mapping[str, Any],
    status: int = 201,
) -> Response[bytes]:
    """Run a write; with an `Idempotency-Key` header once, in one transaction with its answer.

    The same key and request give the stored answer, another request a conflict.
    `concerns` names what is written, so that a key bound to an entity writes of that entity alone.
    """

    async def whole(connection: Connection, author: Author, seal: Seal) -> object:
        async with writing(connection):
            value = await work(connection, author)
            await seal(value)
        await count_entered(connection)
        return value

    return await write_long(request, whole, concerns=concerns, status=status)


async def preview_write(
    request: ApiRequest, change: Change, *, concerns: Mapping[str, Any]
) -> Response[bytes]:
    """What a write would move in the books, of the caller's entity where it is bound to one; it
    enters nothing."""
    entity_id = caller_of(request).entity_id
    async with working(request, concerns) as connection:
        seen = await preview_change(
            connection, change, author_of(request), now=clock.now(), entity_id=entity_id
        )
    return answer(preview_json(seen))


async def write_long(
    request: ApiRequest,
    work: LongWork,
    *,
    concerns: Mapping[str, object],
    status: int = 201,
) -> Response[bytes]:
    """`write`, for work of several transactions: it calls `seal` with its answer in the last one.

    So what is done and what was answered are kept together or not at all, whoever dies between;
    who comes with the same key meanwhile waits for the answer.
    """
    key, author = request.headers.get("idempotency-key", ""), author_of(request)
    if len(key) > KEY_MAX:
        raise ConflictError(f"The idempotency key is over {KEY_MAX} characters.", "Send less.")

    async def seal(value: object) -> None:
        if key:
            await _store(request, connection, key, status, encode(value))

    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(working(request, concerns))
        if key:
            key_id = caller_of(request).key_id
            await stack.enter_async_context(
                api_reads.one_at_a_time(connection, key_id=key_id, idempotency_key=key)
            )
            stored = await _find_stored(request, connection, key)
            if stored is not None:
                return stored
        return _answer(encode(await work(connection, author, seal)), status)


async def _find_stored(
    request: ApiRequest, connection: Connection, key: str
) -> Response[bytes] | None:
    given = await api_reads.find_idempotent(
        connection, key_id=caller_of(request).key_id, idempotency_key=key
    )
    if given is None:
        return None
    if given.request_digest != await _digest(request):
        raise ConflictError(
            f"Idempotency key {key!r} was used for another request.", "Send a new key."
        )
    return _answer(given.body, given.status)


async def _store(
    request: ApiRequest, connection: Connection, key: str, status: int, body: bytes
) -> None:
    await api_reads.insert_idempotent(
        connection,
        key_id=caller_of(request).key_id,
        idempotency_key=key,
        request_digest=await _digest(request),
        status=status,
        body=body,
    )


async def _digest(request: ApiRequest) -> UUID:
    asked = f"{request.method} {request.url.path}?{request.url.query}\n"
    hashed = blake2b(asked.encode(), digest_size=16)
    hashed.update(await whole_body(request))
    return UUID(bytes=hashed.digest())


def _answer(body: bytes, status: int) -> Response[bytes]:
    return Response(body, status_code=status, media_type=JSON)
