"""Usage and charges by dimensions: in pages as JSON, or whole as CSV."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery

from ledger import clock
from ledger.api.access import BY_ROWS, READERS, caller_of
from ledger.api.answer import LIMIT_MAX, answer, check_limit, from_numbered_cursor, to_cursor
from ledger.api.apart import REPORTS as AT_REPORTS
from ledger.api.reports import ends_of
from ledger.api.request import ApiRequest
from ledger.api.session import reading, sending, working
from ledger.api.streaming import Streamed, attached
from ledger.domain.errors import InvalidInputError, NotFoundError
from ledger.domain.period import month_of, zone
from ledger.reports.grouped import GroupedReport, Grouping, Said
from ledger.reports.table import REPORTS
from ledger.store.connect import CutOff, draw_cut_off, find_cut_off
from ledger.store.parties import find_customer

PURPOSE = "report over the API"
# Cut-offs of that purpose are kept for a day.
PAGES_FOR = timedelta(hours=23)


@dataclass(frozen=True, slots=True)
class GroupedQuery:
    """What is asked of a report, as it was sent."""

    since: str | None
    until: str | None
    by: str
    customer: str | None
    entity: str | None
    time_zone: str
    limit: int
    cursor: str | None
    csv: bool


def _handler(report: GroupedReport) -> HTTPRouteHandler:
    """What answers for a grouped report."""

    async def handler(
        request: ApiRequest,
        since: FromQuery[str | None] = None,
        until: FromQuery[str | None] = None,
        by: FromQuery[str] = report.by,
        customer: FromQuery[str | None] = None,
        entity: FromQuery[str | None] = None,
        time_zone: FromQuery[str] = "UTC",
        limit: FromQuery[int] = LIMIT_MAX,
        cursor: FromQuery[str | None] = None,
        csv: FromQuery[bool] = False,
    ) -> Response[Any]:
        asked = GroupedQuery(since, until, by, customer, entity, time_zone, limit, cursor, csv)
        return await _answer(request, report, asked)

    handler.__doc__ = report.about
    route = get(
        f"/v1/{report.name}",
        operation_id=report.name,
        roles=READERS,
        bound=BY_ROWS,
        apart=AT_REPORTS,
    )
    return route(handler)


async def whose(request: ApiRequest, asked: str | None) -> str | None:
    """Whose: a customer key's own, or of who is below it; NotFoundError where that is another's."""
    caller = caller_of(request)
    if caller.role != "customer":
        return asked
    if asked in (None, caller.customer_id):
        return caller.customer_id
    # Row-level security says whom it may see.
    async with reading(request) as connection:
        if await find_customer(connection, asked) is None:
            raise NotFoundError(f"There is no customer {asked!r}.")
    return asked


async def _answer(
    request: ApiRequest, report: GroupedReport, asked: GroupedQuery
) -> Response[bytes] | Streamed:
    who, limit = await whose(request, asked.customer), check_limit(asked.limit)
    period, by = ends_of(asked.since, asked.until), report.names(asked.by)
    zone(asked.time_zone)
    cut_off, after = await _page_after(request, asked.cursor)
    # Every page has the month in which its first one was asked for.
    month = month_of(cut_off.drawn_at, asked.time_zone)
    since, until = period or (month.start, month.end)
    grouping = Grouping(
        *(report, by, since, until, cut_off),
        *(asked.entity, who, asked.time_zone),
        known=True,
    )
    if asked.csv:
        return attached(_csv(request, grouping), "text/csv", f"{report.name}.csv")
    state: Said = {}
    if report.state is not None:
        async with working(request) as connection:
            state = await grouping.state(connection)
    async with reading(request) as connection:
        items, last = await grouping.page(connection, limit, after)
        total = await grouping.total(connection)
    more = to_cursor(cut_off.cut_off_id, *last) if last is not None else None
    return answer(grouping.asked() | state | {"items": items} | total | {"next": more})


async def _csv(request: ApiRequest, grouping: Grouping) -> AsyncIterator[bytes]:
    async with (
        sending(request, reading(request)) as connection,
        aclosing(grouping.csv(connection, raw=False)) as parts,
    ):
        async for part in parts:
            yield part


async def _page_after(request: ApiRequest, cursor: str | None) -> tuple[CutOff, list[str] | None]:
    """The cut-off that a cursor names and the place behind it, or a new one and none."""
    async with working(request) as connection:
        if cursor is None:
            return await draw_cut_off(connection, PURPOSE), None
        cut_off_id, after = from_numbered_cursor(cursor)
        cut_off = await find_cut_off(connection, cut_off_id)
    if cut_off is None or cut_off.drawn_at < clock.now() - PAGES_FOR:
        raise InvalidInputError(
            "cursor: found one of more than a day ago.", "Begin with the first page.", "cursor"
        )
    return cut_off, after


HANDLERS = tuple(_handler(each) for each in REPORTS if isinstance(each, GroupedReport))
