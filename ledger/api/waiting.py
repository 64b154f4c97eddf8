"""What waits: usage of unknown customers, usage without a price, events that could not be read."""

from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromPath, FromQuery

from ledger import clock
from ledger.api.access import ADMIN, HOUSE
from ledger.api.answer import answer, check_limit, from_cursor, page
from ledger.api.apart import FLOWS, REPORTS
from ledger.api.session import Seal, reading, working, write_long
from ledger.api.state import state_of
from ledger.domain.author import Author
from ledger.domain.errors import NotFoundError
from ledger.flows.release import release_by_hand
from ledger.reports.waiting import list_all_unpriced
from ledger.store import operations
from ledger.store.connect import draw_cut_off
from ledger.store.queries import Connection


@get("/v1/suspense", roles=HOUSE)
async def suspense(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Names nobody knows, with what waits under each."""
    async with reading(request) as connection:
        rows = await operations.list_suspense(connection)
    return answer({"items": rows, "next": None})


@post("/v1/suspense/{customer_ref:str}/release", roles=HOUSE, apart=FLOWS)
async def release(request: Request[Any, Any, Any], customer_ref: FromPath[str]) -> Response[bytes]:
    """Book what waits under a name to the customer it now is; rating bills it then."""
    state = state_of(request)

    def shown(released: int) -> dict[str, Any]:
        return {"customer_ref": customer_ref, "released": released}

    async def work(connection: Connection, author: Author, seal: Seal) -> dict[str, Any]:
        released = await release_by_hand(
            connection,
            customer_ref,
            directory=state.intake.directory,
            now=clock.now(),
            author=author,
            seal=lambda count: seal(shown(count)),
        )
        return shown(released)

    return await write_long(request, work, status=200)


@get("/v1/unpriced", roles=HOUSE, apart=REPORTS)
async def unpriced(
    request: Request[Any, Any, Any], entity: FromQuery[str | None] = None
) -> Response[bytes]:
    """Usage that waits for a price, with the reason."""
    async with working(request) as connection:
        cut_off = await draw_cut_off(connection, "unpriced over the API")
        rows = await list_all_unpriced(connection, cut_off=cut_off, entity_id=entity)
    return answer({"items": rows, "next": None})


@get("/v1/quarantine", roles=HOUSE)
async def quarantine(
    request: Request[Any, Any, Any],
    limit: FromQuery[int] = 100,
    cursor: FromQuery[str | None] = None,
) -> Response[bytes]:
    """Events that could not be read, newest first; replay them on the command line."""
    place = from_cursor(cursor, int)
    async with reading(request) as connection:
        rows = await operations.list_quarantine(
            connection,
            rows=check_limit(limit) + 1,
            before=place[0] if place else operations.LAST,
        )
    return answer(page(rows, limit, "quarantine_id"))


@get("/v1/quarantine/{quarantine_id:int}/raw", roles=ADMIN)
async def quarantine_raw(
    request: Request[Any, Any, Any], quarantine_id: FromPath[int]
) -> Response[bytes]:
    """The bytes as received, as far as they are kept."""
    async with reading(request) as connection:
        row = await operations.find_quarantine_raw(connection, quarantine_id)
    if row is None:
        raise NotFoundError(
            f"There are no bytes of quarantined event {quarantine_id}.", "They expire."
        )
    headers = {"X-Truncated": str(row["truncated"]).lower()}
    return Response(bytes(row["raw"]), media_type="application/octet-stream", headers=headers)


HANDLERS = (suspense, release, unpriced, quarantine, quarantine_raw)
