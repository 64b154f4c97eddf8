"""The usage statement of an invoice: every event behind every line, as a file."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from litestar import get
from litestar.params import FromPath, FromQuery

from ledger.api.access import BY_ROWS, READERS, ApiRequest
from ledger.api.apart import REPORTS
from ledger.api.session import reading, sending
from ledger.api.streaming import Streamed, attached
from ledger.exports.filenames import file_name
from ledger.flows.billing.trace import find_invoice
from ledger.flows.billing.usage_statement import usage_statement


@get("/v1/invoices/{invoice_id:int}/usage", roles=READERS, bound=BY_ROWS, apart=REPORTS)
async def fetch_usage_statement(
    request: ApiRequest, invoice_id: FromPath[int], customer: FromQuery[str | None] = None
) -> Streamed:
    """Every event behind every line of an invoice as CSV, or behind those that one `customer` below
    the invoiced one used, as known at its cut-off."""
    async with reading(request) as connection:
        invoice = await find_invoice(connection, str(invoice_id))

    async def parts() -> AsyncIterator[bytes]:
        async with (
            sending(request, reading(request)) as connection,
            aclosing(usage_statement(connection, invoice, customer)) as file,
        ):
            async for part in file:
                yield part

    name = "-".join(filter(None, [invoice.number, customer, "usage"]))
    return attached(parts(), "text/csv", file_name(name, ".csv"))


HANDLERS = (fetch_usage_statement,)
