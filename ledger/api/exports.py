"""The books as files for finance, one format a request."""

from collections.abc import AsyncIterator
from contextlib import aclosing

from litestar import Response, get
from litestar.params import FromPath, FromQuery

from ledger.api.access import BY_QUERY, BY_ROWS, HOUSE
from ledger.api.answer import answer
from ledger.api.apart import REPORTS
from ledger.api.reports import period_of
from ledger.api.request import ApiRequest
from ledger.api.session import sending, working
from ledger.api.streaming import Streamed, attached
from ledger.domain.errors import NotFoundError
from ledger.exports import EXPORT_FORMATS
from ledger.reports.books.export import SERVICE, BooksOf, How, export_file
from ledger.store.connect import draw_cut_off


@get("/v1/exports", roles=HOUSE, bound=BY_ROWS)
async def list_formats() -> Response[bytes]:
    """The formats there are."""
    shown = [
        {"format": each.name, "file": each.filename, "media_type": each.media_type}
        for each in EXPORT_FORMATS.values()
    ]
    return answer({"items": shown, "next": None})


@get("/v1/exports/{format_name:str}", roles=HOUSE, bound=BY_QUERY, apart=REPORTS)
async def export(
    request: ApiRequest,
    format_name: FromPath[str],
    entity: FromQuery[str],
    since: FromQuery[str],
    until: FromQuery[str],
    raw: FromQuery[bool] = False,
    invoices_by: FromQuery[str] = SERVICE,
) -> Streamed:
    """One file of a period. Text that a spreadsheet would take for a formula is guarded.

    `raw` leaves such text as it is, for programs. Invoices and their lines are of usage in the
    period, or with `invoices_by=issue` those issued in it.
    """
    export_format = EXPORT_FORMATS.get(format_name)
    if export_format is None:
        known = ", ".join(EXPORT_FORMATS)
        raise NotFoundError(f"There is no format {format_name!r}.", f"Ask for one of {known}.")
    start, end = period_of(since, until)
    how = How(raw, invoices_by)

    async def parts() -> AsyncIterator[bytes]:
        async with sending(request, working(request)) as connection:
            cut_off = await draw_cut_off(connection, "export over the API")
            books = BooksOf(entity, start, end, cut_off)
            async with aclosing(export_file(connection, format_name, books, how)) as file:
                async for part in file:
                    yield part

    return attached(parts(), export_format.media_type, export_format.filename)


HANDLERS = (list_formats, export)
