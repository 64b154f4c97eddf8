"""Letters about what is overdue: written, and as they went out."""

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery

from ledger import clock
from ledger.api.access import BY_QUERY, BY_ROWS, HOUSE, READERS
from ledger.api.apart import FLOWS
from ledger.api.headers import disposition
from ledger.api.request import ApiRequest
from ledger.api.session import Seal, reading, write_long
from ledger.domain.author import Author
from ledger.domain.billing.issued import PDF
from ledger.domain.errors import NotFoundError
from ledger.flows.billing.dun import run_dunning
from ledger.store.billing.dunning import find_letter
from ledger.store.queries import Connection


@post("/v1/dunning", roles=HOUSE, bound=BY_QUERY, apart=FLOWS, operation_id="run_dunning")
async def run(request: ApiRequest, entity: FromQuery[str]) -> Response[bytes]:
    """Write the letters that are due today to customers of an entity; again, what is missing."""

    async def work(connection: Connection, author: Author, seal: Seal) -> object:
        done = await run_dunning(connection, entity_id=entity, now=clock.now(), author=author)
        await seal(done)
        return done

    return await write_long(request, work, concerns={"entity_id": entity})


@get("/v1/dunning-letters/{letter_id:int}/pdf", roles=READERS, bound=BY_ROWS)
async def fetch_letter_pdf(request: ApiRequest, letter_id: FromPath[int]) -> Response[bytes]:
    """The PDF of a letter as it went out."""
    async with reading(request) as connection:
        content = await find_letter(connection, letter_id)
    if content is None:
        raise NotFoundError(f"There is no letter {letter_id}.", "List them to see their ids.")
    headers = {"Content-Disposition": disposition("inline", f"letter-{letter_id}.pdf")}
    return Response(content, media_type=PDF, headers=headers)


HANDLERS = (run, fetch_letter_pdf)
