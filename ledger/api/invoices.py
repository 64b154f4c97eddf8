"""Invoices: what the next would be, issuing it, and following a line back to its events."""

from dataclasses import replace
from operator import itemgetter
from typing import TypeAlias

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery

from ledger import clock
from ledger.api.access import BY_NAMES, BY_QUERY, BY_ROWS, HOUSE, READERS
from ledger.api.answer import answer, check_limit, from_cursor, page
from ledger.api.apart import FLOWS, REPORTS
from ledger.api.headers import disposition
from ledger.api.request import ApiRequest
from ledger.api.session import Seal, read_body, reading, working, write_long
from ledger.api.shapes import list_adjustments, run_json, show_draft, show_trace
from ledger.documents.invoice_json import adjustment_json, invoice_json
from ledger.domain.author import Author
from ledger.domain.billing.issued import PDF, SUFFIXES, XML
from ledger.domain.errors import NotFoundError
from ledger.domain.period import zone
from ledger.exports.filenames import file_name
from ledger.flows.billing import invoice as flow
from ledger.flows.billing.credit import credit_invoice
from ledger.flows.billing.document import find_or_render
from ledger.flows.billing.issue import IssueRules
from ledger.flows.billing.run import RunAsk, run_invoices
from ledger.flows.billing.trace import FIRST, find_invoice, trace_invoice_line
from ledger.reports.billing.receivables import receivables_report
from ledger.reports.billing.receivables import to_json as receivables_json
from ledger.store.billing import invoice as store
from ledger.store.billing.receivables import find_credit_document
from ledger.store.parties import find_entity
from ledger.store.queries import Connection
from ledger.wire.ask_inputs import InvoiceAsk, InvoiceRunAsk
from ledger.wire.receivable_inputs import CreditAsk

Asked: TypeAlias = ApiRequest


@post("/v1/invoices/preview", roles=HOUSE, bound=BY_NAMES, status_code=200, apart=FLOWS)
async def preview(request: Asked) -> Response[bytes]:
    """The invoice of the billing period that holds `at`, as it would be issued now."""
    asked = await read_body(request, InvoiceAsk)
    async with working(request, _concerns(asked)) as connection:
        draft = await flow.preview_invoice(
            connection, subscription_id=asked.subscription_id, moment=asked.at, now=clock.now()
        )
    return answer(show_draft(draft))


@post("/v1/invoices", roles=HOUSE, bound=BY_NAMES, apart=FLOWS)
async def issue(request: Asked) -> Response[bytes]:
    """Issue the invoice of the billing period that holds `at`."""
    asked = await read_body(request, InvoiceAsk)
    allow = IssueRules(asked.allow_unpriced, asked.allow_open_period, asked.supplementary)

    async def work(connection: Connection, author: Author, seal: Seal) -> object:
        return await flow.issue_invoice(
            connection,
            subscription_id=asked.subscription_id,
            moment=asked.at,
            now=clock.now(),
            author=author,
            allow=allow,
            seal=seal,
        )

    return await write_long(request, work, concerns=_concerns(asked))


@post("/v1/invoices/run", roles=HOUSE, bound=BY_NAMES, status_code=200, apart=FLOWS)
async def run(request: Asked) -> Response[bytes]:
    """Issue the invoices of an entity's billing periods that hold `at`, but for what is parked."""
    asked = await read_body(request, InvoiceRunAsk)
    allow = IssueRules(unpriced=asked.allow_unpriced, open_period=asked.allow_open_period)
    release = frozenset(asked.release)

    async def work(connection: Connection, author: Author, seal: Seal) -> object:
        done = await run_invoices(
            connection,
            RunAsk(asked.entity_id, asked.at, clock.now(), _because(author, asked), allow, release),
            seal=lambda done: seal(run_json(done)),
        )
        return run_json(done)

    return await write_long(request, work, concerns={"entity_id": asked.entity_id}, status=200)


@get("/v1/invoices", roles=READERS, bound=BY_ROWS)
async def list_invoices(
    request: Asked,
    customer: FromQuery[str | None] = None,
    entity: FromQuery[str | None] = None,
    limit: FromQuery[int] = 100,
    cursor: FromQuery[str | None] = None,
) -> Response[bytes]:
    """Invoices, newest first."""
    keys = from_cursor(cursor, int)
    async with reading(request) as connection:
        rows = await store.list_invoices(
            connection,
            entity_id=entity,
            customer_id=customer,
            before=keys[0] if keys else None,
            limit=check_limit(limit) + 1,
        )
    return answer(page([invoice_json(row) for row in rows], limit, itemgetter("invoice_id")))


@get("/v1/invoices/{invoice_id:str}", roles=READERS, bound=BY_ROWS)
async def fetch_invoice(request: Asked, invoice_id: FromPath[str]) -> Response[bytes]:
    """An invoice, by its id or number, with its lines as issued; as PDF with
    `Accept: application/pdf`."""
    if "application/pdf" in request.headers.get("accept", ""):
        return await _document(request, invoice_id)
    async with reading(request) as connection:
        invoice = await find_invoice(connection, invoice_id)
        lines = await store.list_lines(connection, invoice_id=invoice.invoice_id)
    return answer(invoice_json(invoice, lines))


@get("/v1/invoices/{invoice_id:str}/pdf", roles=READERS, bound=BY_ROWS)
async def fetch_pdf(request: Asked, invoice_id: FromPath[str]) -> Response[bytes]:
    """The PDF as it went out."""
    return await _document(request, invoice_id)


@get("/v1/invoices/{invoice_id:str}/xml", roles=READERS, bound=BY_ROWS)
async def fetch_xml(request: Asked, invoice_id: FromPath[str]) -> Response[bytes]:
    """The electronic invoice as it went out, where it is a file of its own (UBL)."""
    return await _document(request, invoice_id, XML)


@post("/v1/invoices/{invoice_id:str}/credit-notes", roles=HOUSE, bound=BY_NAMES, apart=FLOWS)
async def credit(request: Asked, invoice_id: FromPath[str]) -> Response[bytes]:
    """Credit some or all of an invoice, or void it, by a document of its own."""
    asked = await read_body(request, CreditAsk)
    async with reading(request) as connection:
        invoice = await find_invoice(connection, invoice_id)

    async def work(connection: Connection, author: Author, seal: Seal) -> object:
        return await credit_invoice(
            connection,
            named=str(invoice.invoice_id),
            lines=asked.amounts,
            void=asked.void,
            now=clock.now(),
            author=replace(author, reason=asked.reason),
            seal=seal,
        )

    return await write_long(request, work, concerns={"entity_id": invoice.entity_id})


@get("/v1/receivables", roles=HOUSE, bound=BY_QUERY, apart=REPORTS)
async def receivables(request: Asked, entity: FromQuery[str]) -> Response[bytes]:
    """What is open of an entity's invoices, by customer and age, and one by one."""
    async with working(request) as connection:
        named = await find_entity(connection, entity)
        if named is None:
            raise NotFoundError(f"There is no entity {entity}.", "List them to see their ids.")
        today = clock.now().astimezone(zone(named.zone)).date()
        report = await receivables_report(connection, entity_id=entity, today=today)
    return answer(receivables_json(report))


@get("/v1/credit-notes/{number:str}/pdf", roles=READERS, bound=BY_ROWS)
async def fetch_credit_pdf(request: Asked, number: FromPath[str]) -> Response[bytes]:
    """The PDF of a credit note as it went out."""
    return await _credit_document(request, number, PDF)


@get("/v1/credit-notes/{number:str}/xml", roles=READERS, bound=BY_ROWS)
async def fetch_credit_xml(request: Asked, number: FromPath[str]) -> Response[bytes]:
    """The electronic credit note as it went out, where it is a file of its own (UBL)."""
    return await _credit_document(request, number, XML)


@get(
    "/v1/invoices/{invoice_id:str}/lines/{line_no:int}/events",
    roles=READERS,
    bound=BY_ROWS,
    apart=REPORTS,
)
async def trace(
    request: Asked,
    invoice_id: FromPath[str],
    line_no: FromPath[int],
    limit: FromQuery[int] = 100,
    cursor: FromQuery[str | None] = None,
) -> Response[bytes]:
    """The events behind a line, in stored order, up to the invoice's cut-off."""
    after = from_cursor(cursor, int, int) or FIRST
    async with reading(request) as connection:
        traced = await trace_invoice_line(
            connection,
            invoice=await find_invoice(connection, invoice_id),
            line_no=line_no,
            after=(after[0], after[1]),
            limit=check_limit(limit),
        )
    return answer(show_trace(traced))


@get(
    "/v1/subscriptions/{subscription_id:str}/adjustments",
    roles=HOUSE,
    bound=BY_NAMES,
    apart=REPORTS,
)
async def adjustments(request: Asked, subscription_id: FromPath[str]) -> Response[bytes]:
    """What changed about invoiced periods since: lines of the next invoice."""
    async with working(request, {"subscription_id": subscription_id}) as connection:
        pending = await list_adjustments(connection, subscription_id)
    return answer({"items": [adjustment_json(*each) for each in pending], "next": None})


def _because(author: Author, asked: InvoiceRunAsk) -> Author:
    return replace(author, reason=asked.reason, stated=True) if asked.reason else author


def _concerns(asked: InvoiceAsk) -> dict[str, object]:
    return {"subscription_id": asked.subscription_id}


async def _document(request: Asked, invoice_id: str, media_type: str = PDF) -> Response[bytes]:
    async with reading(request) as connection:
        invoice = await find_invoice(connection, invoice_id)
    # Row-level security has said whether the caller may see it; documents are the worker's to keep.
    async with working(request) as connection:
        content = await find_or_render(connection, invoice, media_type)
    return _file(content, invoice.number, media_type)


async def _credit_document(request: Asked, number: str, media_type: str) -> Response[bytes]:
    async with reading(request) as connection:
        content = await find_credit_document(connection, named=number, media_type=media_type)
    if content is None:
        raise NotFoundError(
            f"There is no credit note {number}, or it went out without a file of {media_type}.",
            "List them to see their numbers.",
        )
    return _file(content, number, media_type)


def _file(content: bytes, number: str, media_type: str) -> Response[bytes]:
    name = file_name(number, SUFFIXES[media_type])
    headers = {"Content-Disposition": disposition("inline", name)}
    return Response(content, media_type=media_type, headers=headers)


HANDLERS = (
    *(preview, issue, run, list_invoices, fetch_invoice, fetch_pdf, fetch_xml, trace),
    *(credit, fetch_credit_pdf, fetch_credit_xml, receivables),
    adjustments,
)
