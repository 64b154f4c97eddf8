"""What the books say: usage for customers too; cost, margin and state for the house alone."""

from datetime import datetime
from typing import Any, TypeVar

from litestar import Request, Response, get
from litestar.params import FromQuery

from ledger import clock
from ledger.api.access import BY_QUERY, BY_ROWS, HOUSE, READERS, caller_of
from ledger.api.answer import answer
from ledger.api.apart import REPORTS
from ledger.api.parameters import moment_of
from ledger.api.session import reading, working
from ledger.domain.errors import InvalidInputError
from ledger.domain.period import WINDOW, zone
from ledger.flows.stages import STAGES
from ledger.reports.cost import evidence
from ledger.reports.metering import coverage
from ledger.reports.metering.status import read_status
from ledger.reports.table import ENERGY, MARGIN, PeriodReport
from ledger.store import api_reads
from ledger.store.connect import draw_cut_off

HOURLY_STEPS = ("hour", "day")
R = TypeVar("R")


def period_of(since: str, until: str) -> tuple[datetime, datetime]:
    """The period two query parameters name; InvalidInputError says which of them is wrong."""
    start, end = moment_of("since", since), moment_of("until", until)
    if start >= end:
        raise InvalidInputError(
            f"The period {since} to {until} is empty.", "Send until after since.", "until"
        )
    return start, end


async def _answer(
    request: Request[Any, Any, Any],
    report: PeriodReport[R],
    entity: str,
    asked: tuple[str, str],
    by: str = "",
) -> Response[bytes]:
    period = period_of(*asked)
    async with working(request) as connection:
        purpose = f"{report.name} over the API"
        found = await report.at_once(
            connection, entity_id=entity, period=period, by=by, purpose=purpose
        )
    return answer(report.to_json(found))


@get(["/v1/margins", "/v1/costs"], roles=HOUSE, bound=BY_QUERY, apart=REPORTS)
async def margins(
    request: Request[Any, Any, Any],
    entity: FromQuery[str],
    since: FromQuery[str],
    until: FromQuery[str],
    by: FromQuery[str] = MARGIN.by,
) -> Response[bytes]:
    """Cost beside revenue, before and after idle, by tier, customer, agent or model.

    Where `missing` says what a cost lacks, revenue and usage stand and every cost is null.
    """
    return await _answer(request, MARGIN, entity, (since, until), by)


@get("/v1/costs/evidence", roles=HOUSE, bound=BY_QUERY, apart=REPORTS)
async def cost_evidence(
    request: Request[Any, Any, Any],
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
        found = await evidence.trace_cost(connection, asked, cut_off=cut_off)
    return answer(evidence.to_json(found))


@get("/v1/energy", roles=HOUSE, bound=BY_QUERY, apart=REPORTS)
async def energy_of(
    request: Request[Any, Any, Any],
    entity: FromQuery[str],
    since: FromQuery[str],
    until: FromQuery[str],
) -> Response[bytes]:
    """Tokens per joule, busy and idle energy, by model and by scope."""
    return await _answer(request, ENERGY, entity, (since, until))


@get("/v1/coverage", roles=HOUSE, bound=BY_QUERY, apart=REPORTS)
async def coverage_of(
    request: Request[Any, Any, Any],
    entity: FromQuery[str],
    since: FromQuery[str],
    until: FromQuery[str],
) -> Response[bytes]:
    """What meters and deployments cover, and how engines' own counters compare.

    A key bound to the entity sees what is known to be its own alone.
    """
    start, end = period_of(since, until)
    async with working(request) as connection:
        found = await coverage.coverage_report(
            connection,
            entity_id=entity,
            since=start,
            until=end,
            cut_off=await draw_cut_off(connection, "coverage over the API"),
            alone=caller_of(request).entity_id is not None,
        )
    return answer(coverage.to_json(found))


@get("/v1/hourly", roles=HOUSE, bound=BY_ROWS, apart=REPORTS)
async def hourly(
    request: Request[Any, Any, Any],
    entity: FromQuery[str],
    since: FromQuery[str],
    until: FromQuery[str],
    step: FromQuery[str] = "hour",
    time_zone: FromQuery[str | None] = None,
) -> Response[bytes]:
    """Revenue and cost of each hour or day, as they stand, a row for each currency; no cost is
    unknown. Days are the entity's, unless another zone is named."""
    start, end = period_of(since, until)
    if step not in HOURLY_STEPS:
        raise InvalidInputError(f"step: found {step!r}.", "Send hour or day.", "step")
    async with reading(request) as connection:
        found = time_zone or await api_reads.find_entity_zone(connection, entity_id=entity)
        zone_name = zone(found or "UTC").key
        rows = await api_reads.sum_hourly(
            connection, entity_id=entity, since=start, until=end, step=step, zone_name=zone_name
        )
    return answer({"items": rows, "next": None})


@get("/v1/activity", roles=READERS, bound=BY_ROWS)
async def activity(
    request: Request[Any, Any, Any], entity: FromQuery[str | None] = None
) -> Response[bytes]:
    """When usage the caller may see began and ended, so that a reader knows where to look."""
    async with reading(request) as connection:
        found = await api_reads.latest_activity(connection, entity_id=entity)
    return answer(
        {"since": found[0] if found else None, "until": found[1] + WINDOW if found else None}
    )


@get("/v1/status", roles=HOUSE, apart=REPORTS)
async def status(request: Request[Any, Any, Any]) -> Response[bytes]:
    """What arrived and when last, what waits, what is covered."""
    async with working(request) as connection:
        cut_off = await draw_cut_off(connection, "status over the API")
        found = await read_status(connection, stages=STAGES, cut_off=cut_off, now=clock.now())
    return answer(found)


HANDLERS = (margins, cost_evidence, energy_of, coverage_of, hourly, activity, status)
