"""What was noticed about an entity's meters, as a report of its own."""

from collections.abc import Iterator, Mapping, Sequence

from ledger.domain.energy.finding import MeterFinding
from ledger.reports import findings
from ledger.reports.cost.margin import find_entity
from ledger.reports.report import Asked, PeriodReport, ReportScope, ReportTable, Shown
from ledger.store.cost.factory import load_factory
from ledger.store.queries import Connection
from ledger.wire import report_answers

COLUMNS = ("GPU", "noticed", "quarter hours", "first", "last", "what it means")


async def _read(
    connection: Connection, scope: ReportScope, _asked: Asked
) -> Sequence[MeterFinding]:
    entity = await find_entity(connection, scope["entity_id"])
    since, until, seq = scope["since"], scope["until"], scope["cut_off"].batch_seq
    factory = await load_factory(connection, entity, since=since, until=until, batch_seq=seq)
    return await findings.list_findings(
        connection, factory, since=since, until=until, batch_seq=seq
    )


def _to_json(items: Sequence[MeterFinding]) -> Mapping[str, object]:
    return {"items": findings.to_json(items), "next": None}


def _show(items: Sequence[MeterFinding], _asked: Asked) -> Iterator[Shown]:
    rows = [
        (
            *(each.gpu_uuid, each.reason, f"{each.windows:,}"),
            *(f"{at:%Y-%m-%dT%H:%MZ}" for at in (each.first_window, each.last_window)),
            each.meaning,
        )
        for each in items
    ]
    yield ReportTable("What was noticed about meters", COLUMNS, rows, first=("noticed", "first"))


FINDINGS = PeriodReport(
    "findings",
    ("/v1/findings",),
    "What was noticed about the meters of an entity's GPUs, and what it means.",
    report_answers.MeterFinding,
    _read,
    _to_json,
    _show,
    listed=True,
)
