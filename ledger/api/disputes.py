"""Disputes of invoices: opened, and resolved by a person."""

from dataclasses import replace

from litestar import Response, post
from litestar.params import FromPath

from ledger import clock
from ledger.api.access import BY_NAMES, HOUSE
from ledger.api.request import ApiRequest
from ledger.api.session import read_body, reading, write
from ledger.domain.author import Author
from ledger.flows.billing import dispute as flow
from ledger.flows.billing.trace import find_invoice
from ledger.store.queries import Connection
from ledger.wire.receivable_inputs import DisputeAsk, DisputeResolution


@post("/v1/invoices/{invoice_id:str}/disputes", roles=HOUSE, bound=BY_NAMES)
async def open_dispute(request: ApiRequest, invoice_id: FromPath[str]) -> Response[bytes]:
    """Keep that a customer disputes an invoice, or a line of it: nobody reminds them meanwhile."""
    asked = await read_body(request, DisputeAsk)
    async with reading(request) as connection:
        invoice = await find_invoice(connection, invoice_id)

    async def work(connection: Connection, author: Author) -> flow.OpenedDispute:
        return await flow.open_dispute(
            connection,
            named=str(invoice.invoice_id),
            line_no=asked.line_no,
            now=clock.now(),
            author=replace(author, reason=asked.reason),
        )

    return await write(request, work, concerns={"entity_id": invoice.entity_id})


@post("/v1/disputes/{dispute_id:int}/resolution", roles=HOUSE, bound=BY_NAMES, status_code=200)
async def resolve_dispute(request: ApiRequest, dispute_id: FromPath[int]) -> Response[bytes]:
    """End a dispute by hand; a credit note ends one by itself."""
    asked = await read_body(request, DisputeResolution)
    async with reading(request) as connection:
        dispute = await flow.find_dispute(connection, dispute_id)

    async def work(connection: Connection, author: Author) -> flow.ResolvedDispute:
        return await flow.resolve_dispute(
            connection,
            dispute_id=dispute_id,
            outcome=asked.outcome,
            now=clock.now(),
            author=replace(author, reason=asked.reason),
        )

    return await write(request, work, concerns={"entity_id": dispute.entity_id}, status=200)


HANDLERS = (open_dispute, resolve_dispute)
