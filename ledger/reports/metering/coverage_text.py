"""The coverage report as people and programs get it."""

from collections.abc import Iterator, Sequence
from typing import Any

from ledger.domain.metering.reconcile import Reconciliation
from ledger.domain.period import zone
from ledger.reports import findings
from ledger.reports.metering.coverage import CoverageReport, coverage_report
from ledger.reports.report import Asked, PeriodReport, ReportScope, ReportTable, Shown
from ledger.store.queries import Connection
from ledger.wire.coverage_answers import Coverage

ENERGY_COLUMNS = ("deployment", "energy asked for", "GPU-seconds deployed", "with readings")
ENGINE_COLUMNS = (
    *("engine", "hour", "not certain for", "input counted", "of events", "input not reported"),
    *("output counted", "of events", "output not reported"),
)
ENGINE_FIRST = ("hour", "input not reported", "output not reported", "not certain for")


async def _read(connection: Connection, scope: ReportScope, asked: Asked) -> CoverageReport:
    return await coverage_report(connection, **scope, alone=asked.alone)


def to_json(report: CoverageReport) -> dict[str, Any]:
    """Everything in the report; counts are integers."""
    return {
        **report.of_what(),
        "energy": [
            {
                "deployment_id": row.deployment_id,
                "deployed_gpu_s": row.deployed_gpu_s,
                "covered_gpu_s": row.covered_gpu_s,
                "asked": row.asked,
            }
            for row in report.energy
        ],
        "usage": {
            "tokens": report.usage.tokens,
            "served_tokens": report.usage.served_tokens,
            "unclaimed": [str(gap) for gap in report.usage.unclaimed],
        },
        "engines": [
            {
                "engine_instance": row.engine_instance,
                "hour": row.hour,
                "engine_input": row.input.engine,
                "event_input": row.input.events,
                "engine_output": row.output.engine,
                "event_output": row.output.events,
                "flags": list(row.flags),
            }
            for row in report.engines
        ],
        "stray_gpus": list(report.stray_gpus),
        "findings": findings.to_json(report.findings),
        "meter_gaps": findings.gaps_to_json(report.meter_gaps),
    }


def _show(report: CoverageReport, asked: Asked) -> Iterator[Shown]:
    rows = [
        (row.deployment_id, "yes" if row.asked else "no", row.deployed_gpu_s, row.covered_gpu_s)
        for row in report.energy
    ]
    yield ReportTable("Energy coverage", ENERGY_COLUMNS, rows, numbers=2)
    served = f"{report.usage.served_tokens:,} of {report.usage.tokens:,}"
    yield f"Tokens served by a deployment: {served}"
    for gap in report.usage.unclaimed:
        yield f"  not served by any: {gap}"
    for gpu in report.stray_gpus:
        yield f"  GPU of no entity: {gpu}"
    yield from findings.to_lines(report.findings)
    yield from findings.gaps_to_lines(report.meter_gaps)
    yield _engines(report.engines, asked.zone_name)


def _engines(engines: Sequence[Reconciliation], zone_name: str) -> Shown:
    if not engines:
        return "Engines: none sent its counters, so nothing stands beside the events."
    rows = [
        (
            row.engine_instance,
            f"{row.hour.astimezone(zone(zone_name)).isoformat(' ', 'minutes')}",
            ", ".join(row.flags) or None,
            *(row.input.engine, row.input.events, row.input.difference),
            *(row.output.engine, row.output.events, row.output.difference),
        )
        for row in engines
    ]
    title = "Engines beside events, tokens,"
    return ReportTable(title, ENGINE_COLUMNS, rows, numbers=6, first=ENGINE_FIRST)


COVERAGE = PeriodReport(
    "coverage",
    "/v1/coverage",
    "How much energy was measured, what a deployment served, and what engines counted.\n\n"
    "A key bound to the entity sees what is known to be its own alone.",
    Coverage,
    _read,
    to_json,
    _show,
)
