"""Invoices: what the next would be, issuing it, and following a line back to its events."""

from datetime import datetime
from typing import Any

from litestar import Request, Response, get, post
from litestar.params import FromPath, FromQuery

from ledger import clock
from ledger.api.access import BY_NAMES, BY_ROWS, HOUSE, READERS
from ledger.api.answer import answer, check_limit, from_cursor, page, to_cursor
from ledger.api.apart import FLOWS, REPORTS
from ledger.api.headers import disposition
from ledger.api.session import Seal, read_object, reading, working, write_long
from ledger.domain.author import Author
from ledger.domain.billing.invoice import InvoiceLine
from ledger.domain.errors import InvalidInputError, NotFoundError
from ledger.exports.filenames import file_name
from ledger.flows.billing import invoice as flow
from ledger.flows.billing.draft_invoice import InvoiceDraft
from ledger.flows.billing.invoice import IssueRules
from ledger.flows.metering.archived_facts import trace_line
from ledger.store.billing import invoice as store
from ledger.store.queries import Connection
from ledger.wire.errors import Rfc3339Error
from ledger.wire.rfc3339 import parse_rfc3339

RULES = ("allow_unpriced", "allow_open_period", "supplementary")


@post("/v1/invoices/preview", roles=HOUSE, bound=BY_NAMES, status_code=200, apart=FLOWS)
async def preview(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The invoice of the billing period that holds `at`, as it would be issued now."""
    subscription_id, moment, _ = await _asked(request)
    async with working(request, {"subscription_id": subscription_id}) as connection:
        draft = await flow.preview_invoice(
            connection, subscription_id=subscription_id, moment=moment, now=clock.now()
        )
    return answer(show_draft(draft))


@post("/v1/invoices", roles=HOUSE, bound=BY_NAMES, apart=FLOWS)
async def issue(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Issue the invoice of the billing period that holds `at`."""
    subscription_id, moment, rules = await _asked(request)

    async def work(connection: Connection, author: Author, seal: Seal) -> Any:
        return await flow.issue_invoice(
            connection,
            subscription_id=subscription_id,
            moment=moment,
            now=clock.now(),
            author=author,
            allow=rules,
            seal=seal,
        )

    return await write_long(request, work, concerns={"subscription_id": subscription_id})


@get("/v1/invoices", roles=READERS, bound=BY_ROWS)
async def list_invoices(
    request: Request[Any, Any, Any],
    customer: FromQuery[str | None] = None,
    entity: FromQuery[str | None] = None,
    limit: FromQuery[int] = 100,
    cursor: FromQuery[str | None] = None,
) -> Response[bytes]:
    """Invoices, newest first."""
    place = from_cursor(cursor, int)
    async with reading(request) as connection:
        rows = await store.list_invoices(
            connection,
            entity_id=entity,
            customer_id=customer,
            before=place[0] if place else None,
            limit=check_limit(limit) + 1,
        )
    return answer(page([_shown(row) for row in rows], limit, "invoice_id"))


@get("/v1/invoices/{invoice_id:int}", roles=READERS, bound=BY_ROWS)
async def fetch_invoice(
    request: Request[Any, Any, Any], invoice_id: FromPath[int]
) -> Response[bytes]:
    """An invoice with its lines, as issued; as PDF with `Accept: application/pdf`."""
    if "application/pdf" in request.headers.get("accept", ""):
        return await _document(request, invoice_id)
    async with reading(request) as connection:
        invoice = await _find(connection, invoice_id)
        lines = await store.list_lines(connection, invoice_id=invoice_id)
    return answer({**_shown(invoice), "snapshot": invoice["snapshot"], "lines": lines})


@get("/v1/invoices/{invoice_id:int}/pdf", roles=READERS, bound=BY_ROWS)
async def fetch_pdf(request: Request[Any, Any, Any], invoice_id: FromPath[int]) -> Response[bytes]:
    """The PDF as it went out."""
    return await _document(request, invoice_id)


@get(
    "/v1/invoices/{invoice_id:int}/lines/{line_no:int}/events",
    roles=READERS,
    bound=BY_ROWS,
    apart=REPORTS,
)
async def trace(
    request: Request[Any, Any, Any],
    invoice_id: FromPath[int],
    line_no: FromPath[int],
    limit: FromQuery[int] = 100,
    cursor: FromQuery[str | None] = None,
) -> Response[bytes]:
    """The events behind a line, in stored order, up to the invoice's cut-off."""
    place = from_cursor(cursor, int, int) or (0, -1)
    async with reading(request) as connection:
        invoice = await _find(connection, invoice_id)
        lines = await store.list_lines(connection, invoice_id=invoice_id)
        line = next((one for one in lines if one["line_no"] == line_no), None)
        if line is None:
            raise NotFoundError(f"Invoice {invoice['number']} has no line {line_no}.")
        rows = await trace_line(
            connection,
            line=dict(line),
            batch_seq=invoice["snapshot"]["cut_off"]["batch_seq"],
            after=(place[0], place[1]),
            limit=check_limit(limit) + 1,
        )
    shown = rows[:limit]
    after = to_cursor(shown[-1]["batch_seq"], shown[-1]["ordinal"]) if len(rows) > limit else None
    return answer({"line": line, "items": shown, "next": after})


@get(
    "/v1/subscriptions/{subscription_id:str}/adjustments",
    roles=HOUSE,
    bound=BY_NAMES,
    apart=REPORTS,
)
async def adjustments(
    request: Request[Any, Any, Any], subscription_id: FromPath[str]
) -> Response[bytes]:
    """What changed about invoiced periods since: lines of the next invoice."""
    async with working(request, {"subscription_id": subscription_id}) as connection:
        lines = await flow.pending_adjustments(connection, subscription_id=subscription_id)
    return answer({"items": [_line(line) for line in lines], "next": None})


async def _asked(request: Request[Any, Any, Any]) -> tuple[str, datetime, IssueRules]:
    body = await read_object(request)
    unknown = sorted(body.keys() - {"subscription_id", "at", *RULES})
    if unknown:
        raise InvalidInputError(f"There is no field {unknown[0]!r}.", "Leave it out.", unknown[0])
    subscription_id, at = body.get("subscription_id"), body.get("at")
    if not isinstance(subscription_id, str):
        raise InvalidInputError("subscription_id is missing.", "Send it.", "subscription_id")
    flags = [body.get(name, False) for name in RULES]
    if not all(isinstance(flag, bool) for flag in flags):
        raise InvalidInputError(f"{', '.join(RULES)} are true or false.", "Send a boolean.")
    try:
        moment = parse_rfc3339(at) if isinstance(at, str) else None
    except Rfc3339Error as error:
        raise InvalidInputError(f"at: {error}.", "Send RFC 3339.", "at") from error
    if moment is None:
        raise InvalidInputError("at is missing.", "Send a time inside the billing period.", "at")
    return subscription_id, moment, IssueRules(*flags)


async def _find(connection: Connection, invoice_id: int) -> Any:
    found = await store.list_invoices(connection, invoice_id=invoice_id, limit=1)
    if not found:
        raise NotFoundError(f"There is no invoice {invoice_id}.", "List them to see their ids.")
    return found[0]


async def _document(request: Request[Any, Any, Any], invoice_id: int) -> Response[bytes]:
    async with reading(request) as connection:
        invoice = await _find(connection, invoice_id)
        content = await store.find_document(connection, invoice_id=invoice_id)
    if content is None:
        raise NotFoundError(f"Invoice {invoice['number']} has no PDF.")
    headers = {"Content-Disposition": disposition("inline", file_name(invoice["number"], ".pdf"))}
    return Response(content, media_type=store.PDF, headers=headers)


def _shown(row: Any) -> dict[str, Any]:
    hidden = {"snapshot", "batch_seq", "cut_off_seq"}
    return {name: value for name, value in row.items() if name not in hidden}


def show_draft(draft: InvoiceDraft) -> dict[str, Any]:
    """A draft as it is shown: period, totals, lines and what waits for a price."""
    return {
        "subscription_id": draft.subscription.subscription_id,
        "customer_id": draft.subscription.customer_id,
        "period": {"from": draft.period.start, "to": draft.period.end},
        "run_no": draft.run_no,
        "cut_off_id": draft.cut_off.cut_off_id,
        "currency": draft.currency,
        "exact_total": draft.totals.exact,
        "net_total": draft.totals.net,
        "tax_total": draft.totals.tax,
        "payable": draft.totals.payable,
        "rounding": draft.totals.rounding,
        "lines": [_line(line) for line in draft.lines],
        "unpriced": draft.unpriced,
        "usage": draft.marks,
        "without_font": [
            {"where": where, "sign": sign} for where, sign in flow.lacking_signs(draft)
        ],
    }


def _line(line: InvoiceLine) -> dict[str, Any]:
    key = line.key
    return {
        "kind": line.kind,
        "service_period": {"from": key.service_start, "to": key.service_end},
        "model": key.model,
        "tier": key.tier,
        "adapter": key.adapter,
        "region": key.region,
        "context_band": key.context_band,
        "meter": key.meter,
        "price_id": key.price_id,
        "quantity": line.quantity,
        "exact_amount": line.exact_amount,
        "amount": line.amount,
    }


HANDLERS = (
    *(preview, issue, list_invoices, fetch_invoice, fetch_pdf, trace),
    adjustments,
)
