"""Months of entities that close, and open again."""

from dataclasses import replace

from litestar import Response, get, post
from litestar.params import FromPath

from ledger import clock
from ledger.api.access import BY_NAMES, HOUSE
from ledger.api.answer import answer
from ledger.api.request import ApiRequest
from ledger.api.session import read_body, working, write
from ledger.domain.author import Author
from ledger.flows.books.close_month import ChangedMonth, close_month, read_months, reopen_month
from ledger.store.queries import Connection
from ledger.wire.close_inputs import MonthAsk


@post("/v1/closes", roles=HOUSE, bound=BY_NAMES)
async def change_month(request: ApiRequest) -> Response[bytes]:
    """Close a month of an entity that is over, softly or for good, or open the last again."""
    asked = await read_body(request, MonthAsk)
    named = {"entity_id": asked.entity_id, "month": asked.month}

    async def work(connection: Connection, author: Author) -> ChangedMonth:
        author = replace(author, reason=asked.reason or author.reason)
        if asked.state == "open":
            return await reopen_month(connection, **named, now=clock.now(), author=author)
        return await close_month(
            connection,
            **named,
            soft=asked.state == "soft_closed",
            accept=asked.accept,
            now=clock.now(),
            author=author,
        )

    return await write(request, work, concerns={"entity_id": asked.entity_id})


@get("/v1/entities/{key:str}/months", roles=HOUSE, bound=BY_NAMES)
async def show_months(request: ApiRequest, key: FromPath[str]) -> Response[bytes]:
    """Show what became of an entity's months, and what is to be done before the next closes."""
    async with working(request, {"entity_id": key}) as connection:
        return answer(await read_months(connection, entity_id=key, now=clock.now()))


HANDLERS = (change_month, show_months)
