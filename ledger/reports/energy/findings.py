"""What was noticed about an entity's meters, as a report of its own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ledger.domain.cost.plausible import ImplausibleWork
from ledger.domain.energy.finding import MeterFinding
from ledger.reports import findings
from ledger.reports.cost import implausible
from ledger.reports.cost.margin import find_entity
from ledger.reports.report import Asked, PeriodReport, ReportScope, ReportTable, Shown
from ledger.store.cost.factory import load_factory
from ledger.store.cost.producers import list_implausible
from ledger.store.queries import Connection
from ledger.wire import plausible_answers

COLUMNS = ("of", "noticed", "quarter hours", "first", "last", "what it means")


@dataclass(frozen=True, slots=True)
class Findings:
    """What was noticed about meters of an entity's GPUs, and about what its deployments took."""

    meters: Sequence[MeterFinding]
    work: Sequence[ImplausibleWork]


async def _read(connection: Connection, scope: ReportScope, _asked: Asked) -> Findings:
    entity = await find_entity(connection, scope["entity_id"])
    since, until, seq = scope["since"], scope["until"], scope["cut_off"].batch_seq
    factory = await load_factory(connection, entity, since=since, until=until, batch_seq=seq)
    meters = await findings.list_findings(
        connection, factory, since=since, until=until, batch_seq=seq
    )
    work = await list_implausible(
        connection, entity_id=entity.entity_id, since=since, until=until, batch_seq=seq
    )
    return Findings(meters, work)


def _to_json(noticed: Findings) -> Mapping[str, object]:
    meters = [each | {"deployment_id": None} for each in findings.to_json(noticed.meters)]
    work = [implausible.as_finding(each) for each in noticed.work]
    return {"items": [*meters, *work], "next": None}


def _show(noticed: Findings, _asked: Asked) -> Iterator[Shown]:
    rows = [
        (
            *(each.gpu_uuid, each.reason, f"{each.windows:,}"),
            *(f"{at:%Y-%m-%dT%H:%MZ}" for at in (each.first_window, each.last_window)),
            each.meaning,
        )
        for each in noticed.meters
    ]
    rows += [
        (
            *(each.deployment_id, each.reason, f"{each.hours * 4:,}"),
            *(f"{at:%Y-%m-%dT%H:%MZ}" for at in (each.first_hour, each.last_hour)),
            implausible.meaning_of(each),
        )
        for each in noticed.work
    ]
    yield ReportTable("What was noticed about meters", COLUMNS, rows, first=("noticed", "first"))


FINDINGS = PeriodReport(
    "findings",
    "/v1/findings",
    "What was noticed about meters of an entity's GPUs and what its deployments took, and what it"
    " means.",
    plausible_answers.Finding,
    _read,
    _to_json,
    _show,
    listed=True,
)
