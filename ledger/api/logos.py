"""The logo that stands above an entity's documents."""

from litestar import Response, post
from litestar.params import FromPath

from ledger.api.access import BY_NAMES, HOUSE
from ledger.api.body import whole_body
from ledger.api.request import ApiRequest
from ledger.api.session import write
from ledger.domain.author import Author
from ledger.flows.reference.enter_logo import enter_logo
from ledger.store.queries import Connection


@post("/v1/entities/{key:str}/logo", roles=HOUSE, bound=BY_NAMES, status_code=200)
async def take_logo(request: ApiRequest, key: FromPath[str]) -> Response[bytes]:
    """Keep an image (PNG or SVG) as the logo of an entity; an empty body takes it away."""
    content = await whole_body(request)

    async def work(connection: Connection, author: Author) -> dict[str, str | None]:
        digest = await enter_logo(connection, key, content, author)
        return {"entity_id": key, "sha256": digest}

    return await write(request, work, concerns={"entity_id": key}, status=200)


HANDLERS = (take_logo,)
