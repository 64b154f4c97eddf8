"""What banks booked: statements taken, and entries settled by a person."""

from dataclasses import replace

from litestar import Response, post
from litestar.params import FromPath, FromQuery

from ledger.api.access import BY_NAMES, BY_QUERY, HOUSE
from ledger.api.apart import FLOWS
from ledger.api.body import whole_body
from ledger.api.request import ApiRequest
from ledger.api.session import read_body, write
from ledger.domain.author import Author
from ledger.flows.billing.import_statement import (
    dismiss_entry,
    import_statement,
    match_by_hand,
    read_statement,
)
from ledger.store.queries import Connection
from ledger.wire.ask_inputs import Dismissal
from ledger.wire.bank_inputs import BankEntryOwner


@post("/v1/bank-statements", roles=HOUSE, bound=BY_QUERY, apart=FLOWS)
async def take_statement(request: ApiRequest, entity: FromQuery[str]) -> Response[bytes]:
    """Take a bank's statement of an entity's account (CAMT.053): what it books pays what it names.

    An entry counts once, in whatever file it comes; what nobody can tell waits for a person.
    """
    entries, skipped = read_statement(await whole_body(request))

    async def work(connection: Connection, author: Author) -> object:
        return await import_statement(
            connection, entity_id=entity, entries=entries, author=author, skipped=skipped
        )

    return await write(request, work, concerns={"entity_id": entity})


@post("/v1/bank-entries/{entry:str}/match", roles=HOUSE, bound=BY_NAMES)
async def match_bank_entry(request: ApiRequest, entry: FromPath[str]) -> Response[bytes]:
    """Say whose an entry is that waits; it becomes a payment, or a refund."""
    owner = await read_body(request, BankEntryOwner)

    async def work(connection: Connection, author: Author) -> object:
        return await match_by_hand(connection, entry, owner, author)

    concerns = {"bank_entry_id": entry, "customer_id": owner.customer_id}
    return await write(request, work, concerns=concerns)


@post("/v1/bank-entries/{entry:str}/dismiss", roles=HOUSE, bound=BY_NAMES, status_code=200)
async def dismiss_bank_entry(request: ApiRequest, entry: FromPath[str]) -> Response[bytes]:
    """Say that an entry is nothing of customers, and why."""
    said = await read_body(request, Dismissal)

    async def work(connection: Connection, author: Author) -> dict[str, object]:
        await dismiss_entry(connection, entry, replace(author, reason=said.reason))
        return {"entry_id": entry, "dismissed": True}

    return await write(request, work, concerns={"bank_entry_id": entry}, status=200)


HANDLERS = (take_statement, match_bank_entry, dismiss_bank_entry)
