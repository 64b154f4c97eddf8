"""The margin report as people and programs get it: rows for a terminal, a plain object as JSON."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from decimal import Decimal
from typing import Any

from ledger.domain.cost.margin import Margin
from ledger.domain.cost.uncertainty import Uncertainty
from ledger.domain.errors import InvalidInputError
from ledger.domain.money import plain, round_minor
from ledger.reports.cost.csv_lines import margin_lines
from ledger.reports.cost.evidence import how_to_trace
from ledger.reports.cost.figures import UNKNOWN, joules_per_output_token, kwh, line_name
from ledger.reports.cost.implausible import to_lines
from ledger.reports.cost.margin import MarginReport, margin_report
from ledger.reports.cost.margin_intervals import find_intervals
from ledger.reports.cost.margin_intervals import to_json as interval_json
from ledger.reports.cost.margin_rows import MarginRow, OwnLine
from ledger.reports.report import (
    Asked,
    PeriodReport,
    ReportOption,
    ReportScope,
    ReportTable,
    Shown,
    Warned,
    names_of,
)
from ledger.store.cost.margin import DIMENSIONS
from ledger.store.cost.site_costs import SiteCostSum
from ledger.store.queries import Connection
from ledger.wire.margin_answers import Margin as MarginAnswer

NO, YES_OR_NO = "no", ("no", "yes")
HEADERS = (
    *("input tokens", "cached", "output tokens", "kWh", "J/output token"),
    *("electricity", "GPU cost", "margin before idle %", "idle share", "site share"),
    *("cost", "revenue"),
    *("gross margin %", "mark-up %"),
)

# What a narrow terminal shows first.
FIRST = (
    *("revenue", "cost", "gross margin %", "margin before idle %", "output tokens"),
    *("input tokens", "electricity", "GPU cost", "idle share", "site share", "kWh"),
)


# Of JSON and of the table: what is unknown where cost is missing.
COSTS = frozenset(
    {
        *("device_metered_mj", "device_estimated_mj", "host_mj", "overhead_mj", "energy_mj"),
        *("energy_kwh", "joules_per_output_token", "electricity", "gpu_cost", "cost_before_idle"),
        *("idle_share", "site_share", "cost", "gross_margin_before_idle_pct", "gross_margin_pct"),
        "markup_pct",
        *("idle_cost", "unattributed_cost", "site_costs", "site_cost", "sites_left"),
        "conservation",
    }
)
# The last columns, where it is asked how far figures may be off.
INTERVAL = ("± % J", "± % cost", "margin from %", "to %")
STANDING = ("input tokens", "cached", "output tokens", "revenue")


def to_table(report: MarginReport) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Headers and rows as text: the groups, the lines that are nobody's, the total."""
    headers, rows = _table(report)
    if report.missing is None:
        return headers, rows
    known = [name in report.by or name in STANDING for name in headers]
    return headers, [
        tuple(cell if stands else UNKNOWN for cell, stands in zip(row, known, strict=True))
        for row in rows
    ]


def _table(report: MarginReport) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    blank = ("",) * (len(report.by) - 1)
    off = report.intervals
    rows = [
        (
            *(*row.group, *_cells(row, report.currency, row.cost)),
            *(_interval_cells(row, row.cost, off.groups[row.group]) if off else ()),
        )
        for row in report.rows
    ]
    rows += [
        (line_name(line.line, line.scope), *blank, *_own_cells(line, report.currency))
        for line in report.own_lines
    ]
    rows += [
        (f"{each.name} of {each.facility_id}", *blank, *_site_cells(each, report.currency))
        for each in report.site_costs
    ]
    whole = ("total", *blank, *_cells(report.total, report.currency, report.cost))
    if off is None:
        return (*report.by, *HEADERS), [*rows, whole]
    headers, empty = (*report.by, *HEADERS, *INTERVAL), ("",) * len(INTERVAL)
    rows = [row if len(row) == len(headers) else (*row, *empty) for row in rows]
    cells = _interval_cells(report.total, report.cost, off.total)
    return headers, [*rows, (*whole, *cells)]


def _interval_cells(row: MarginRow, cost: Decimal, off: Uncertainty) -> tuple[str, ...]:
    said = interval_json(row, cost, off)
    margin = said["gross_margin_pct"]
    ends = (margin["low"], margin["high"]) if isinstance(margin, dict) else (None, None)
    figures = (said["energy_percent"], said["cost_percent"], *ends)
    return tuple(UNKNOWN if value is None else str(value) for value in figures)


def to_json(report: MarginReport) -> dict[str, Any]:
    """Everything in the report; money as text in plain notation, counts as integers.

    Where `missing` says what the cost lacks, every cost and energy is null.
    """
    plain_form = _json(report)
    if report.missing is None:
        return plain_form
    plain_form["items"] = [_without_costs(row) for row in plain_form["items"]]
    plain_form["total"] = _without_costs(plain_form["total"])
    return _without_costs(plain_form)


def _without_costs(sums: dict[str, Any]) -> dict[str, Any]:
    return {name: None if name in COSTS else value for name, value in sums.items()}


def _json(report: MarginReport) -> dict[str, Any]:
    kept, off = report.conservation, report.intervals
    return {
        **report.of_what(),
        "currency": report.currency,
        "missing": report.missing,
        "by": list(report.by),
        "items": [
            dict(zip(report.by, row.group, strict=True))
            | _row_json(row, row.cost, off.groups[row.group] if off else None)
            for row in report.rows
        ],
        "own_lines": [_own_json(line) for line in report.own_lines],
        "total": _row_json(report.total, report.cost, off.total if off else None),
        "energy_mj": report.energy_mj,
        "energy_kwh": kwh(report.energy_mj),
        "idle_policy": report.idle_policy,
        "idle_policies": [
            {
                "scope": policy.scope or None,
                "version": policy.version,
                "method": policy.method,
                "reserved": dict(policy.reserved),
                "valid_from": policy.valid_from,
                "valid_to": policy.valid_to,
            }
            for policy in report.policies
        ],
        "site_policy": report.site_policy,
        "idle_cost": plain(report.idle_cost),
        "unattributed_cost": plain(report.unattributed_cost),
        "site_costs": [
            {
                "facility_id": each.facility_id,
                "name": each.name,
                "currency": each.currency,
                "amount": plain(each.amount),
            }
            for each in report.site_costs
        ],
        "site_cost": plain(report.site_cost),
        "sites_left": plain(report.sites_left),
        "conservation": {
            "metered_mj": kept.metered_mj,
            "estimated_mj": kept.estimated_mj,
            "metered_pct": _text(kept.metered_pct),
            "energy_residual_mj": kept.energy_residual_mj,
            "cost_residual": plain(kept.cost_residual),
        },
        "conversions": [
            {
                "base": rate.base,
                "quote": rate.quote,
                "published": rate.published,
                "multiplier": plain(rate.multiplier),
                "divisor": plain(rate.divisor),
                "source": rate.source,
            }
            for rate in report.conversions
        ],
        "implausible": [asdict(each) for each in report.implausible],
    }


def _row_json(row: MarginRow, cost: Decimal, off: Uncertainty | None) -> dict[str, object]:
    before = Margin(row.revenue, row.cost_before_idle, "").gross_margin_pct
    margin = Margin(row.revenue, cost, "")
    return {
        "requests": row.requests,
        "input_tokens": row.known["input_tokens"],
        "input_uncached": row.known["uncached"],
        "input_cache_read": row.known["cache_read"],
        "input_cache_write": row.known["cache_write"],
        "output_tokens": row.known["output_tokens"],
        "device_metered_mj": row.metered_mj,
        "device_estimated_mj": row.estimated_mj,
        "host_mj": row.host_mj,
        "overhead_mj": row.overhead_mj,
        "energy_mj": row.energy_mj,
        "energy_kwh": kwh(row.energy_mj),
        "joules_per_output_token": joules_per_output_token(row.energy_mj, row.output),
        "electricity": plain(row.electricity),
        "gpu_cost": plain(row.gpu_cost),
        "cost_before_idle": plain(row.cost_before_idle),
        "idle_share": plain(row.idle_share),
        "site_share": plain(row.site_share),
        "cost": plain(cost),
        "revenue": plain(row.revenue),
        "unpriced_tokens": row.unpriced_tokens,
        "gross_margin_before_idle_pct": _text(before),
        "gross_margin_pct": _text(margin.gross_margin_pct),
        "markup_pct": _text(margin.markup_pct),
        **({"interval": interval_json(row, cost, off)} if off else {}),
    }


def _own_json(line: OwnLine) -> dict[str, object]:
    return {
        "line": line.line,
        "scope": line.scope,
        "cause": line.cause,
        "device_metered_mj": line.metered_mj,
        "device_estimated_mj": line.estimated_mj,
        "energy_mj": line.energy_mj,
        "energy_kwh": kwh(line.energy_mj),
        "electricity": plain(line.electricity),
        "gpu_cost": plain(line.gpu_cost),
        "cost": plain(line.cost),
        "shared_by_nobody": plain(line.left),
    }


def _cells(row: MarginRow, currency: str, cost: Decimal) -> tuple[str, ...]:
    margin = Margin(row.revenue, cost, currency)
    before = Margin(row.revenue, row.cost_before_idle, "").gross_margin_pct
    return (
        *(_count(row.known[name]) for name in ("input_tokens", "cache_read", "output_tokens")),
        kwh(row.energy_mj),
        joules_per_output_token(row.energy_mj, row.output) or UNKNOWN,
        _money(row.electricity, currency),
        _money(row.gpu_cost, currency),
        _text(before) or UNKNOWN,
        _money(row.idle_share, currency),
        _money(row.site_share, currency),
        _money(cost, currency),
        _money(row.revenue, currency),
        _text(margin.gross_margin_pct) or UNKNOWN,
        _text(margin.markup_pct) or UNKNOWN,
    )


def _own_cells(line: OwnLine, currency: str) -> tuple[str, ...]:
    energy = ("", "", "", kwh(line.energy_mj), "")
    spent = (_money(line.electricity, currency), _money(line.gpu_cost, currency), "", "", "")
    return (*energy, *spent, _money(line.cost, currency), "", "", "")


def _site_cells(each: SiteCostSum, currency: str) -> tuple[str, ...]:
    return (*[""] * 10, _money(each.amount, currency), "", "", "")


def _count(tokens: int | None) -> str:
    return "unknown" if tokens is None else f"{tokens:,}"


def _money(amount: Decimal, currency: str) -> str:
    return plain(round_minor(amount, currency))


def _text(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


async def _read(connection: Connection, scope: ReportScope, asked: Asked) -> MarginReport:
    by, intervals = names_of(asked.options["by"]), asked.options["intervals"]
    if intervals not in YES_OR_NO:
        raise InvalidInputError(f"intervals: found {intervals!r}.", "Send yes or no.", "intervals")
    report = await margin_report(connection, **scope, by=by, without_cost=True)
    if intervals == NO:
        return report
    return replace(report, intervals=await find_intervals(connection, report))


def _show(report: MarginReport, _asked: Asked) -> Iterator[Shown]:
    headers, rows = to_table(report)
    currency = f", amounts in {report.currency}"
    numbers = len(headers) - len(report.by)
    yield ReportTable("Margin", headers, rows, numbers, FIRST, currency)
    yield from how_to_trace(line.scope for line in report.own_lines)
    if report.conservation.estimated_mj:
        yield f"{_text(report.conservation.metered_pct)} % of the boards' energy was metered."
    for line in to_lines(report.implausible):
        yield Warned(line)
    if report.missing is not None:
        yield Warned(f"Cost and margin are unknown. {report.missing}")


MARGIN = PeriodReport(
    "margin",
    ("/v1/margins", "/v1/costs"),
    "Revenue beside cost, before and after idle, by who used it and what.\n\n"
    "Where a cost is incomplete it is unknown: `missing` says what it lacks, revenue and usage"
    " stand and every cost is null.",
    MarginAnswer,
    _read,
    to_json,
    _show,
    (
        ReportOption("by", "tier", f"{', '.join(DIMENSIONS)}."),
        ReportOption("intervals", NO, "yes: how far costs and margins may be off, where known."),
    ),
    csv=margin_lines,
)
