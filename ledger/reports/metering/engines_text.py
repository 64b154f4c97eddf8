"""The report of engines beside events as people and programs get it."""

from collections.abc import Iterator
from decimal import Decimal

from ledger.domain.metering.reconcile import Reconciliation, Side
from ledger.domain.period import zone
from ledger.reports.metering.engines import EnginesReport, engines_report
from ledger.reports.report import Asked, PeriodReport, ReportScope, ReportTable, Shown
from ledger.store.queries import Connection
from ledger.wire.coverage_answers import Engines

# A larger share of what was counted that no cause explains is worth a look.
SHARE_MAX = Decimal("0.01")
COLUMNS = (
    *("engine", "hour", "tokens", "not certain for", "causes, at most"),
    *("counted", "of events", "difference", "unexplained"),
)
FIRST = ("hour", "tokens", "unexplained", "difference", "causes, at most", "not certain for")


async def _read(connection: Connection, scope: ReportScope, asked: Asked) -> EnginesReport:
    return await engines_report(connection, **scope, alone=asked.alone)


def to_json(report: EnginesReport) -> dict[str, object]:
    """Everything in the report; counts are integers, null is unknown."""
    return {
        **report.of_what(),
        "engines": [
            {
                "engine_instance": row.engine_instance,
                "hour": row.hour,
                "input": _side(row.input),
                "output": _side(row.output),
                "requests": row.requests,
                "event_requests": row.event_requests,
                "flags": list(row.flags),
            }
            for row in report.engines
        ],
    }


def _side(side: Side) -> dict[str, object]:
    return {
        "engine": side.engine,
        "events": side.events,
        "difference": side.difference,
        "causes": dict(side.causes),
        "unexplained": side.unexplained,
        "over": side.is_over(SHARE_MAX),
    }


def _show(report: EnginesReport, asked: Asked) -> Iterator[Shown]:
    rows = [
        (
            *(row.engine_instance, _hour(row, asked), name, ", ".join(row.flags) or None),
            *(_causes(side), side.engine, side.events, side.difference, side.unexplained),
        )
        for row in report.engines
        for name, side in (("input", row.input), ("output", row.output))
    ]
    yield ReportTable("Engines beside events", COLUMNS, rows, numbers=4, first=FIRST)
    for row in report.engines:
        over = [
            f"{side.unexplained:,} tokens of {name}"
            for name, side in (("input", row.input), ("output", row.output))
            if side.is_over(SHARE_MAX)
        ]
        if over:
            said = " and ".join(over)
            yield f"More than 1 % has no cause: {row.engine_instance}, {_hour(row, asked)}: {said}"


def _hour(row: Reconciliation, asked: Asked) -> str:
    return row.hour.astimezone(zone(asked.zone_name)).isoformat(" ", "minutes")


def _causes(side: Side) -> str | None:
    """Causes in words, the largest first; of those without a number nobody knows the size."""
    named = sorted(side.causes.items(), key=lambda cause: -(cause[1] or 0))
    said = [name if tokens is None else f"{name} ≤ {tokens:,}" for name, tokens in named]
    return ", ".join(said) or None


ENGINES = PeriodReport(
    "engines",
    "/v1/engines",
    "What engines counted beside what events say, by hour, and what can explain the difference.\n\n"
    "Each cause is at its most, null where nobody knows its size; `over` marks more than 1 % of"
    " no cause. A key bound to the entity sees what is known to be its own alone.",
    Engines,
    _read,
    to_json,
    _show,
)
