"""Tokens per joule and idle energy, by model and by scope."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger.domain.cost.cost_sum import CostSum
from ledger.domain.energy.finding import MeterFinding, MeterGap
from ledger.flows.cost.recall import recall_parts
from ledger.reports.cost.evidence import how_to_trace
from ledger.reports.cost.figures import UNKNOWN, joules_per_output_token, kwh
from ledger.reports.cost.margin import find_entity
from ledger.reports.findings import (
    gaps_to_json,
    gaps_to_lines,
    list_findings,
    list_meter_gaps,
)
from ledger.reports.findings import to_json as to_json_findings
from ledger.reports.findings import to_lines as to_lines_findings
from ledger.reports.report import (
    Asked,
    PeriodReport,
    ReportOption,
    ReportScope,
    ReportTable,
    ScopedReport,
    Shown,
)
from ledger.store.connect import CutOff
from ledger.store.cost import margin
from ledger.store.cost.factory import load_factory
from ledger.store.queries import Connection
from ledger.store.within import OfEntity, Within
from ledger.wire.coverage_answers import Energy

HEADERS = (
    *("name", "output tokens", "busy kWh", "idle kWh", "idle %", "estimated %"),
    "J/output token",
)


@dataclass(frozen=True, slots=True)
class EnergyRow:
    """Energy of the facility in mJ of one model or one scope, busy and idle apart.

    Output tokens are known by model, not by scope (None).
    """

    name: str
    output_tokens: int | None
    busy_mj: int
    idle_mj: int
    unattributed_mj: int
    device_metered_mj: int
    device_estimated_mj: int

    @property
    def energy_mj(self) -> int:
        """Everything."""
        return self.busy_mj + self.idle_mj + self.unattributed_mj

    @property
    def idle_permille(self) -> int | None:
        """How much of the energy no attempt used, in thousandths; None without energy."""
        return _permille(self.idle_mj, self.energy_mj)

    @property
    def estimated_permille(self) -> int | None:
        """How much of the device energy was inferred, in thousandths; None without energy."""
        device = self.device_metered_mj + self.device_estimated_mj
        return _permille(self.device_estimated_mj, device)


@dataclass(frozen=True, slots=True)
class EnergyReport(ScopedReport):
    """Energy of an entity over [since, until) as known at a cut-off."""

    by_model: tuple[EnergyRow, ...]
    by_scope: tuple[EnergyRow, ...]
    findings: tuple[MeterFinding, ...]
    meter_gaps: tuple[MeterGap, ...] = ()


async def energy_report(
    connection: Connection,
    *,
    entity_id: str,
    since: datetime,
    until: datetime,
    cut_off: CutOff,
) -> EnergyReport:
    """What each model and each scope used; MissingInputError for an entity without hardware."""
    entity = await find_entity(connection, entity_id)
    within: Within = {"since": since, "until": until, "batch_seq": cut_off.batch_seq}
    asked = OfEntity(entity_id=entity_id, **within)
    await recall_parts(connection, **asked)
    lines = await margin.sum_cost_lines(connection, by=("model",), **asked)
    usage = await margin.sum_usage(connection, by=("model",), **asked)
    factory = await load_factory(connection, entity, **within)
    models = {deployment.scope: deployment.model for deployment in factory.deployments}
    outputs: dict[str, int] = defaultdict(int)
    for row in usage:
        outputs[str(row.model)] += row.output
    by_model = _rows(lines, lambda line: line.model or models.get(line.scope), outputs)
    return EnergyReport(
        entity_id=entity_id,
        since=since,
        until=until,
        cut_off=cut_off,
        by_model=by_model,
        by_scope=_rows(lines, lambda line: line.scope, None),
        findings=await list_findings(connection, factory, **within),
        meter_gaps=await list_meter_gaps(connection, factory, alone=True, **within),
    )


def to_rows(rows: Iterable[EnergyRow]) -> list[tuple[str, ...]]:
    """Rows as text, under HEADERS."""
    return [
        (
            row.name,
            UNKNOWN if row.output_tokens is None else f"{row.output_tokens:,}",
            kwh(row.busy_mj),
            kwh(row.idle_mj),
            _percent(row.idle_permille),
            _percent(row.estimated_permille),
            joules_per_output_token(row.energy_mj, row.output_tokens) or UNKNOWN,
        )
        for row in rows
    ]


def to_json(report: EnergyReport) -> dict[str, Any]:
    """Everything in the report; energy in integer mJ beside kWh as text."""
    return {
        **report.of_what(),
        "by_model": [_row_json(row) for row in report.by_model],
        "by_scope": [_row_json(row) for row in report.by_scope],
        "findings": to_json_findings(report.findings),
        "meter_gaps": gaps_to_json(report.meter_gaps),
    }


def _row_json(row: EnergyRow) -> dict[str, object]:
    return {
        "name": row.name,
        "output_tokens": row.output_tokens,
        "busy_mj": row.busy_mj,
        "idle_mj": row.idle_mj,
        "unattributed_mj": row.unattributed_mj,
        "energy_mj": row.energy_mj,
        "energy_kwh": kwh(row.energy_mj),
        "device_metered_mj": row.device_metered_mj,
        "device_estimated_mj": row.device_estimated_mj,
        "joules_per_output_token": joules_per_output_token(row.energy_mj, row.output_tokens),
    }


def _rows(
    lines: Iterable[CostSum],
    name: Callable[[CostSum], str | None],
    outputs: Mapping[str, int] | None,
) -> tuple[EnergyRow, ...]:
    sums: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for line in lines:
        line_sums = sums[name(line) or f"({line.scope})"]
        device = line.device_metered_mj + line.device_estimated_mj
        line_sums[line.line] += device + line.host_mj + line.overhead_mj
        line_sums["metered"] += line.device_metered_mj
        line_sums["estimated"] += line.device_estimated_mj
    return tuple(
        EnergyRow(
            name=each,
            output_tokens=None if outputs is None else outputs.get(each, 0),
            busy_mj=line_sums["usage"],
            idle_mj=line_sums["idle"],
            unattributed_mj=line_sums["unattributed"] + line_sums["unclaimed"],
            device_metered_mj=line_sums["metered"],
            device_estimated_mj=line_sums["estimated"],
        )
        for each, line_sums in sorted(sums.items())
    )


def _permille(part: int, whole: int) -> int | None:
    return part * 1000 // whole if whole else None


def _percent(permille: int | None) -> str:
    return UNKNOWN if permille is None else f"{permille // 10}.{permille % 10}"


async def _read(connection: Connection, scope: ReportScope, _asked: Asked) -> EnergyReport:
    # By model and by scope at once: what is shown of them is chosen afterwards.
    return await energy_report(connection, **scope)


def _show(report: EnergyReport, asked: Asked) -> Iterator[Shown]:
    rows = report.by_scope if asked.options["by"] == "scope" else report.by_model
    yield ReportTable("Energy", HEADERS, to_rows(rows), numbers=len(HEADERS) - 1)
    yield from how_to_trace(row.name for row in report.by_scope)
    yield from to_lines_findings(report.findings)
    yield from gaps_to_lines(report.meter_gaps)


ENERGY = PeriodReport(
    "energy",
    "/v1/energy",
    "Tokens per joule, busy and idle energy, by model and by scope.",
    Energy,
    _read,
    to_json,
    _show,
    (ReportOption("by", "model", "model or scope.", shown_only=True),),
)
