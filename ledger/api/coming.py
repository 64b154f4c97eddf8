"""The invoices to come."""

from litestar import Response, get
from litestar.params import FromQuery

from ledger import clock
from ledger.api.access import BY_ROWS, READERS
from ledger.api.answer import answer
from ledger.api.apart import FLOWS
from ledger.api.grouped import whose
from ledger.api.request import ApiRequest
from ledger.api.session import reading, working
from ledger.api.shapes import show_draft
from ledger.domain.errors import InvalidInputError
from ledger.flows.billing.invoice import preview_invoice
from ledger.store import api_reads
from ledger.wire.errors import Rfc3339Error
from ledger.wire.rfc3339 import parse_rfc3339


@get("/v1/invoices/coming", roles=READERS, bound=BY_ROWS, apart=FLOWS)
async def coming(
    request: ApiRequest,
    customer: FromQuery[str | None] = None,
    at: FromQuery[str | None] = None,
) -> Response[bytes]:
    """The invoices a customer is to get for the billing periods that hold `at` (now), as of now."""
    who = await whose(request, customer)
    if who is None:
        raise InvalidInputError("customer is missing.", "Name a customer.", "customer")
    now = clock.now()
    try:
        moment = now if at is None else parse_rfc3339(at)
    except Rfc3339Error as error:
        raise InvalidInputError(f"at: {error}.", "Send RFC 3339.", "at") from error
    async with reading(request) as connection:
        names = await api_reads.list_open_subscriptions(connection, customer_id=who, moment=moment)
    # Row-level security has said which subscriptions the caller may see; drafts are the worker's.
    async with working(request) as connection:
        drafts = [
            await preview_invoice(connection, subscription_id=name, moment=moment, now=now)
            for name in names
        ]
    return answer({"items": [show_draft(draft) for draft in drafts], "next": None})


HANDLERS = (coming,)
