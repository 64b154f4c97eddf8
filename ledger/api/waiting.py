"""What waits: usage of unknown customers, usage without a price, events that could not be read."""

from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery

from ledger import clock
from ledger.api.access import ADMIN, BY_QUERY, HOUSE
from ledger.api.answer import answer, check_limit, from_cursor, page
from ledger.api.apart import FLOWS, REPORTS
from ledger.api.request import ApiRequest
from ledger.api.session import Seal, asking, read_body, reading, working, write, write_long
from ledger.api.shapes import show_conflict as shape_conflict
from ledger.api.state import state_of
from ledger.domain.author import Author
from ledger.domain.errors import NotFoundError
from ledger.domain.metering.record import ItemOutcome
from ledger.flows.metering.conflicts import resolve_conflict, show_conflict
from ledger.flows.metering.release import dismiss_suspense, release_by_hand
from ledger.flows.metering.replay import dismiss_quarantine
from ledger.reports.pricing.waiting import list_all_unpriced
from ledger.store import operations
from ledger.store.connect import draw_cut_off
from ledger.store.metering.conflicts import list_conflicts
from ledger.store.queries import Connection
from ledger.wire.ask_inputs import ConflictResolution, Dismissal, SuspenseDismissal


@get("/v1/suspense", roles=HOUSE, asks=True)
async def suspense(request: ApiRequest) -> Response[bytes]:
    """Names nobody knows, with what waits under each."""
    async with asking(request) as connection:
        rows = await operations.list_suspense(connection)
    return answer({"items": rows, "next": None})


@post("/v1/suspense/{customer_ref:str}/release", roles=HOUSE, status_code=200, apart=FLOWS)
async def release(request: ApiRequest, customer_ref: FromPath[str]) -> Response[bytes]:
    """Book what waits under a name to the customer it now is; rating bills it then."""
    state = state_of(request)

    def shown(released: int) -> dict[str, object]:
        return {"customer_ref": customer_ref, "released": released}

    async def work(connection: Connection, author: Author, seal: Seal) -> dict[str, object]:
        released = await release_by_hand(
            connection,
            customer_ref,
            directory=state.directory,
            now=clock.now(),
            author=author,
            seal=lambda count: seal(shown(count)),
        )
        return shown(released)

    return await write_long(request, work, concerns={}, status=200)


@get("/v1/unpriced", roles=HOUSE, bound=BY_QUERY, apart=REPORTS)
async def unpriced(request: ApiRequest, entity: FromQuery[str | None] = None) -> Response[bytes]:
    """Usage that waits for a price, with the reason."""
    async with working(request) as connection:
        cut_off = await draw_cut_off(connection, "unpriced over the API")
        rows = await list_all_unpriced(connection, cut_off=cut_off, entity_id=entity)
    return answer({"items": rows, "next": None})


@get("/v1/quarantine", roles=HOUSE, asks=True)
async def quarantine(
    request: ApiRequest,
    limit: FromQuery[int] = 100,
    cursor: FromQuery[str | None] = None,
) -> Response[bytes]:
    """Events that could not be read, newest first; replay them on the command line."""
    keys = from_cursor(cursor, int)
    async with asking(request) as connection:
        rows = await operations.list_quarantine(
            connection,
            rows=check_limit(limit) + 1,
            before=keys[0] if keys else operations.LAST,
        )
    return answer(page(rows, limit, attrgetter("quarantine_id")))


@get("/v1/quarantine/{quarantine_id:int}/raw", roles=ADMIN, asks=True)
async def quarantine_raw(request: ApiRequest, quarantine_id: FromPath[int]) -> Response[bytes]:
    """The bytes as received, as far as they are kept."""
    async with asking(request) as connection:
        kept = await operations.find_quarantine_raw(connection, quarantine_id)
    if kept is None:
        raise NotFoundError(
            f"There are no bytes of quarantined event {quarantine_id}.", "They expire."
        )
    headers = {"X-Truncated": str(kept.truncated).lower()}
    return Response(kept.raw, media_type="application/octet-stream", headers=headers)


@post("/v1/quarantine/{quarantine_id:int}/dismiss", roles=HOUSE, status_code=200)
async def dismiss(request: ApiRequest, quarantine_id: FromPath[int]) -> Response[bytes]:
    """Take an event that could not be read out of what waits: `reason` says why."""
    given = await read_body(request, Dismissal)

    async def work(connection: Connection, author: Author) -> dict[str, object]:
        said = replace(author, reason=given.reason)
        done = await dismiss_quarantine(connection, [quarantine_id], said, now=clock.now())
        return {"quarantine_id": quarantine_id, "dismissed": done}

    return await write(request, work, concerns={}, status=200)


@post("/v1/suspense/dismiss", roles=HOUSE, status_code=200)
async def dismiss_waiting(request: ApiRequest) -> Response[bytes]:
    """Take what waits under a name, or under none, out of what waits: `reason` says why."""
    given = await read_body(request, SuspenseDismissal)

    async def work(connection: Connection, author: Author) -> operations.Suspended:
        said = replace(author, reason=given.reason)
        return await dismiss_suspense(connection, given.customer_ref, said, now=clock.now())

    return await write(request, work, concerns={}, status=200)


@get("/v1/conflicts", roles=HOUSE, asks=True)
async def conflicts(
    request: ApiRequest,
    source: FromQuery[str | None] = None,
    resolved: FromQuery[bool] = False,
    limit: FromQuery[int] = 100,
    cursor: FromQuery[str | None] = None,
) -> Response[bytes]:
    """Other content under an identity that was taken, newest first; resolved ones if asked for."""
    keys = from_cursor(cursor, int)
    async with asking(request) as connection:
        rows = await list_conflicts(
            connection,
            rows=check_limit(limit) + 1,
            before=keys[0] if keys else operations.LAST,
            source=source,
            resolved=resolved,
        )
    return answer(page(rows, limit, attrgetter("conflict_id")))


@get("/v1/conflicts/{conflict_id:int}", roles=HOUSE)
async def conflict(request: ApiRequest, conflict_id: FromPath[int]) -> Response[bytes]:
    """A conflict with what is stored and what was offered, as far as it is kept."""
    async with reading(request) as connection:
        shown = await show_conflict(connection, conflict_id)
    return answer(shape_conflict(shown))


@post("/v1/conflicts/{conflict_id:int}/resolve", roles=HOUSE, status_code=200)
async def resolve(request: ApiRequest, conflict_id: FromPath[int]) -> Response[bytes]:
    """Say which side it was: kept, corrected (by what was offered) or resent (under `id`)."""
    given = await read_body(request, ConflictResolution)
    state = state_of(request)

    def shown(outcomes: Sequence[ItemOutcome]) -> dict[str, object]:
        events = [outcome.outcome for outcome in outcomes]
        return {"conflict_id": conflict_id, "resolution": given.resolution, "events": events}

    async def work(connection: Connection, author: Author, seal: Seal) -> dict[str, object]:
        outcomes = await resolve_conflict(
            connection,
            conflict_id,
            given.resolution,
            replace(author, reason=given.reason),
            event_id=given.id,
            directory=state.directory,
            now=clock.now(),
            limits=state.limits,
            seal=lambda done: seal(shown(done)),
        )
        return shown(outcomes)

    return await write_long(request, work, concerns={}, status=200)


HANDLERS = (
    suspense,
    release,
    unpriced,
    quarantine,
    quarantine_raw,
    dismiss,
    dismiss_waiting,
    conflicts,
    conflict,
    resolve,
)
