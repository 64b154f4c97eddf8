"""What the books say: usage for customers too; cost, margin and state for the house alone."""

from datetime import datetime
from inspect import Parameter, Signature
from typing import TypeAlias, TypeVar

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery

from ledger import clock
from ledger.api.access import BY_QUERY, BY_ROWS, HOUSE, READERS, caller_of
from ledger.api.answer import answer
from ledger.api.apart import REPORTS as AT_REPORTS
from ledger.api.headers import disposition
from ledger.api.parameters import moment_of
from ledger.api.request import ApiRequest
from ledger.api.session import asking, working
from ledger.domain.errors import InvalidInputError, NotFoundError
from ledger.domain.period import DAY, WINDOW
from ledger.flows.stages import STAGES
from ledger.reports.cost import evidence
from ledger.reports.items_csv import items_csv
from ledger.reports.metering.status import read_status
from ledger.reports.report import Asked, PeriodReport
from ledger.reports.table import REPORTS
from ledger.store import api_reads
from ledger.store.connect import draw_cut_off
from ledger.store.parties import find_entity
from ledger.store.queries import Connection
from ledger.wire.input_fields import FIRST_DAY, FIRST_MOMENT, LAST_DAY, LAST_MOMENT

KEYWORD = Parameter.KEYWORD_ONLY
MaybeText: TypeAlias = FromQuery[str | None]
R = TypeVar("R")


def period_of(since: str, until: str) -> tuple[datetime, datetime]:
    """The period two query parameters name; InvalidInputError says which of them is wrong."""
    start, end = moment_of("since", since), moment_of("until", until)
    if start >= end:
        raise InvalidInputError(
            f"The period {since} to {until} is empty.", "Send until after since.", "until"
        )
    for name, moment in (("since", start), ("until", end)):
        # Days begin earlier and end later in zones than in UTC.
        if not FIRST_MOMENT - DAY <= moment <= LAST_MOMENT + DAY:
            raise InvalidInputError(
                f"{name} is outside {FIRST_DAY} to {LAST_DAY}.",
                "Send a time the books can hold.",
                name,
            )
    return start, end


def ends_of(since: str | None, until: str | None) -> tuple[datetime, datetime] | None:
    """The period that was asked for, or None where none was."""
    if since is None and until is None:
        return None
    if since is None or until is None:
        missing = "since" if since is None else "until"
        raise InvalidInputError(
            "One end of the period is missing.",
            "Send since and until, or neither for what is usual, mostly the present month.",
            missing,
        )
    return period_of(since, until)


async def _usual_period(
    connection: Connection, entity_id: str, report: PeriodReport[R]
) -> tuple[datetime, datetime]:
    """What is usual for a report now, in the entity's zone, as the command line takes it."""
    entity = await find_entity(connection, entity_id)
    if entity is None:
        raise NotFoundError(f"There is no entity {entity_id}.", "Enter it, or look at its id.")
    period = report.usual(clock.now(), entity.zone)
    return period.start, period.end


def _parameters(report: PeriodReport[R]) -> list[Parameter]:
    """Those of every period, and a report's own: Litestar reads them off a handler's signature."""
    ends = [
        Parameter(name, KEYWORD, default=None, annotation=MaybeText) for name in ("since", "until")
    ]
    options = [
        Parameter(option.name, KEYWORD, default=option.default, annotation=FromQuery[str])
        for option in report.options
        if not option.shown_only
    ]
    as_csv = [Parameter("csv", KEYWORD, default=False, annotation=FromQuery[bool])]
    return [
        Parameter("request", KEYWORD, annotation=ApiRequest),
        Parameter("entity", KEYWORD, annotation=FromQuery[str]),
        *ends,
        *options,
        *(as_csv if report.csv else []),
    ]


def _handler(report: PeriodReport[R]) -> HTTPRouteHandler:
    """What answers for a report: its parameters are those of every period, and its options."""

    async def handler(
        request: ApiRequest,
        entity: str,
        since: str | None = None,
        until: str | None = None,
        csv: bool = False,
        **options: str,
    ) -> Response[bytes]:
        period = ends_of(since, until)
        bound = caller_of(request).entity_id is not None
        asked = Asked({**report.defaults, **options}, alone=bound)
        async with working(request) as connection:
            rows = await report.at_once(
                connection,
                entity_id=entity,
                period=period or await _usual_period(connection, entity, report),
                asked=asked,
                purpose=f"{report.name} over the API",
            )
        said = report.to_json(rows)
        if csv and report.csv:
            headers = {"Content-Disposition": disposition("attachment", f"{report.name}.csv")}
            return Response(
                items_csv(report.csv(said)).encode(), media_type="text/csv", headers=headers
            )
        return answer(said)

    parameters = _parameters(report)
    handler.__dict__["__signature__"] = Signature(parameters, return_annotation=Response[bytes])
    handler.__annotations__ = {each.name: each.annotation for each in parameters}
    handler.__annotations__["return"] = Response[bytes]
    handler.__doc__ = report.about
    route = get(
        report.path,
        operation_id=report.path.rpartition("/")[2],
        roles=HOUSE,
        bound=BY_QUERY,
        apart=AT_REPORTS,
    )
    return route(handler)


@get("/v1/costs/evidence", roles=HOUSE, bound=BY_QUERY, apart=AT_REPORTS)
async def cost_evidence(
    request: ApiRequest,
    entity: FromQuery[str],
    cost_scope: FromQuery[str],
    at: FromQuery[str],
    line: FromQuery[str | None] = None,
    usage_key: FromQuery[str | None] = None,
) -> Response[bytes]:
    """What a scope's cost in the quarter hour that holds `at` came from: its lines, pools, meters,
    readings, prices and usage. Scopes are named by `by_scope` of energy and `own_lines` of costs;
    `line` and `usage_key` narrow the lines to those of one kind or one usage."""
    asked = evidence.AskedCost(
        *(entity, cost_scope, moment_of("at", at)),
        *(evidence.asked_line(line), evidence.asked_usage_key(usage_key)),
    )
    async with working(request) as connection:
        cut_off = await draw_cut_off(connection, "cost evidence over the API")
        traced = await evidence.trace_cost(connection, asked, cut_off=cut_off)
    return answer(evidence.to_json(traced))


@get("/v1/activity", roles=READERS, bound=BY_ROWS, asks=True)
async def activity(request: ApiRequest, entity: FromQuery[str | None] = None) -> Response[bytes]:
    """When usage the caller may see began and ended, so that a reader knows where to look."""
    async with asking(request) as connection:
        latest = await api_reads.latest_activity(connection, entity_id=entity)
    return answer(
        {"since": latest[0] if latest else None, "until": latest[1] + WINDOW if latest else None}
    )


@get("/v1/status", roles=HOUSE, apart=AT_REPORTS)
async def status(request: ApiRequest) -> Response[bytes]:
    """What arrived and when last, what waits, what is covered."""
    async with working(request) as connection:
        cut_off = await draw_cut_off(connection, "status over the API")
        state = await read_status(connection, stages=STAGES, cut_off=cut_off, now=clock.now())
    return answer(state)


HANDLERS = (
    *(_handler(each) for each in REPORTS if isinstance(each, PeriodReport)),
    cost_evidence,
    activity,
    status,
)
