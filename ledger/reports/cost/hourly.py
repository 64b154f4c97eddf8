"""Revenue beside cost of each hour or day, as they stand."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from ledger.domain.errors import InvalidInputError, NotFoundError
from ledger.domain.money import plain
from ledger.domain.period import zone
from ledger.reports.report import (
    Asked,
    PeriodReport,
    ReportOption,
    ReportScope,
    ReportTable,
    Shown,
)
from ledger.store.api_reads import HourlySum, find_entity_zone, sum_hourly
from ledger.store.queries import Connection
from ledger.wire.margin_answers import Hour

STEPS = ("hour", "day")
UNKNOWN = "–"


async def _read(connection: Connection, scope: ReportScope, asked: Asked) -> Sequence[HourlySum]:
    step = asked.options["step"]
    if step not in STEPS:
        raise InvalidInputError(f"step: found {step!r}.", "Send hour or day.", "step")
    entity_id = scope["entity_id"]
    own = await find_entity_zone(connection, entity_id=entity_id)
    if own is None:
        raise NotFoundError(f"There is no entity {entity_id!r}.", "Enter it, or look at its id.")
    return await sum_hourly(
        connection,
        entity_id=entity_id,
        since=scope["since"],
        until=scope["until"],
        step=step,
        zone_name=zone(asked.options["time_zone"] or own).key,
    )


def _to_json(sums: Sequence[HourlySum]) -> Mapping[str, object]:
    items = [
        {
            "hour": row.hour,
            "currency": row.currency,
            "revenue": row.revenue,
            "cost": row.cost,
            "idle": row.idle,
        }
        for row in sums
    ]
    return {"items": items, "next": None}


def _show(sums: Sequence[HourlySum], asked: Asked) -> Iterator[Shown]:
    local = zone(asked.options["time_zone"] or asked.zone_name)
    rows = [
        (
            row.hour.astimezone(local).isoformat(" ", "minutes"),
            row.currency,
            *(_text(amount) for amount in (row.revenue, row.cost, row.idle)),
        )
        for row in sums
    ]
    columns = (asked.options["step"], "currency", "revenue", "cost", "idle")
    yield ReportTable("Revenue and cost", columns, rows, numbers=3)


def _text(amount: Decimal | None) -> str:
    return UNKNOWN if amount is None else plain(amount)


HOURLY = PeriodReport(
    "hourly",
    "/v1/hourly",
    "Revenue and cost of each hour or day, as they stand, a row for each currency; no cost is"
    " unknown. Days are the entity's, unless another zone is named.",
    Hour,
    _read,
    _to_json,
    _show,
    (
        ReportOption("step", "hour", "hour or day."),
        ReportOption("time_zone", "", "IANA time zone of days and hours."),
    ),
    listed=True,
)
