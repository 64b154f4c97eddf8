"""The usage statement of an invoice: every event behind every line, or behind one, as a file."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from litestar import get
from litestar.params import FromPath, FromQuery

from ledger.api.access import BY_ROWS, READERS
from ledger.api.apart import REPORTS
from ledger.api.request import ApiRequest
from ledger.api.session import reading, sending
from ledger.api.streaming import Streamed, attached
from ledger.domain.billing.issued import IssuedLine, StoredInvoice
from ledger.exports.filenames import file_name
from ledger.flows.billing.trace import find_invoice, find_line
from ledger.flows.billing.usage_statement import usage_statement
from ledger.store.billing.invoice import list_lines


@get("/v1/invoices/{invoice_id:str}/usage", roles=READERS, bound=BY_ROWS, apart=REPORTS)
async def fetch_usage_statement(
    request: ApiRequest, invoice_id: FromPath[str], customer: FromQuery[str | None] = None
) -> Streamed:
    """Every event behind every line of an invoice as CSV, or behind those that one `customer` below
    the invoiced one used, as known at its cut-off."""
    async with reading(request) as connection:
        invoice = await find_invoice(connection, invoice_id)
        lines = await list_lines(connection, invoice_id=invoice.invoice_id)
    return _statement(request, invoice, lines, customer=customer)


@get(
    "/v1/invoices/{invoice_id:str}/lines/{line_no:int}/usage",
    roles=READERS,
    bound=BY_ROWS,
    apart=REPORTS,
)
async def fetch_line_usage(
    request: ApiRequest, invoice_id: FromPath[str], line_no: FromPath[int]
) -> Streamed:
    """Every event behind one line of an invoice as CSV, as known at its cut-off."""
    async with reading(request) as connection:
        invoice = await find_invoice(connection, invoice_id)
        line = await find_line(connection, invoice, line_no)
    return _statement(request, invoice, [line], of=f"line-{line_no}")


def _statement(
    request: ApiRequest,
    invoice: StoredInvoice,
    lines: Sequence[IssuedLine],
    *,
    customer: str | None = None,
    of: str | None = None,
) -> Streamed:
    async def parts() -> AsyncIterator[bytes]:
        async with (
            sending(request, reading(request)) as connection,
            aclosing(usage_statement(connection, invoice, lines, customer)) as file,
        ):
            async for part in file:
                yield part

    name = "-".join(filter(None, [invoice.number, of or customer, "usage"]))
    return attached(parts(), "text/csv", file_name(name, ".csv"))


HANDLERS = (fetch_usage_statement, fetch_line_usage)
