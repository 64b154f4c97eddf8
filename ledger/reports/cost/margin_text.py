"""The margin report as people get it, rows for a terminal, and where it is asked for."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

from ledger.domain.cost.margin import Margin
from ledger.domain.cost.uncertainty import Uncertainty
from ledger.domain.errors import InvalidInputError
from ledger.domain.money import EXACT, ZERO, plain, round_minor, total
from ledger.reports.cost.csv_lines import margin_lines
from ledger.reports.cost.evidence import how_to_trace
from ledger.reports.cost.figures import UNKNOWN, joules_per_output_token, known, kwh, line_name
from ledger.reports.cost.implausible import to_lines
from ledger.reports.cost.margin import MarginReport, margin_report
from ledger.reports.cost.margin_intervals import find_intervals
from ledger.reports.cost.margin_intervals import to_json as interval_json
from ledger.reports.cost.margin_json import to_json
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
        (
            f"{each.name} of {each.facility_id}",
            *blank,
            *_site_cells(EXACT.minus(each.amount), report.currency),
        )
        for each in report.site_costs
    ]
    if report.sites_left:
        left = _site_cells(report.sites_left, report.currency, cost=report.sites_left)
        rows.append(("sites, shared by nobody", *blank, *left))
    whole = ("total", *blank, *_whole_cells(report))
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


def _cells(row: MarginRow, currency: str, cost: Decimal) -> tuple[str, ...]:
    margin = Margin(row.revenue, cost, currency)
    before = Margin(row.revenue, row.cost_before_idle, "").gross_margin_pct
    return (
        *(_count(row.known[name]) for name in ("input_tokens", "cache_read", "output_tokens")),
        kwh(row.energy_mj),
        joules_per_output_token(row.energy_mj, row.output) or UNKNOWN,
        _money(row.electricity, currency),
        _money(row.gpu_cost, currency),
        known(before) or UNKNOWN,
        _money(row.idle_share, currency),
        _money(row.site_share, currency),
        _money(cost, currency),
        _money(row.revenue, currency),
        known(margin.gross_margin_pct) or UNKNOWN,
        known(margin.markup_pct) or UNKNOWN,
    )


def _whole_cells(report: MarginReport) -> tuple[str, ...]:
    """Of everything: energy, costs and shares add up with the lines that are nobody's, and tokens
    are users'."""
    users, own = report.total, report.own_lines
    said = dict(zip(HEADERS, _cells(users, report.currency, report.cost), strict=True))
    electricity = total([users.electricity, *(line.electricity for line in own)])
    gpu_cost = total([users.gpu_cost, *(line.gpu_cost for line in own)])
    said["kWh"] = kwh(report.energy_mj)
    said["electricity"] = _money(electricity, report.currency)
    said["GPU cost"] = _money(gpu_cost, report.currency)
    idle = total([users.idle_share, *map(_shared, own)])
    sites = [EXACT.minus(each.amount) for each in report.site_costs]
    said["idle share"] = _money(idle, report.currency)
    said["site share"] = _money(
        total([users.site_share, *sites, report.sites_left]), report.currency
    )
    return tuple(said.values())


def _own_cells(line: OwnLine, currency: str) -> tuple[str, ...]:
    energy = ("", "", "", kwh(line.energy_mj), "")
    spent = (_money(line.electricity, currency), _money(line.gpu_cost, currency), "")
    shared = (_money(_shared(line), currency), "")
    return (*energy, *spent, *shared, _money(line.left, currency), "", "", "")


def _shared(line: OwnLine) -> Decimal:
    """What comes off a line because users have it as their share."""
    return EXACT.subtract(line.left, line.cost)


def _site_cells(share: Decimal, currency: str, cost: Decimal = ZERO) -> tuple[str, ...]:
    return (*[""] * 9, _money(share, currency), _money(cost, currency), "", "", "")


def _count(tokens: int | None) -> str:
    return "unknown" if tokens is None else f"{tokens:,}"


def _money(amount: Decimal, currency: str) -> str:
    return plain(round_minor(amount, currency))


async def _read(connection: Connection, scope: ReportScope, asked: Asked) -> MarginReport:
    by, intervals = names_of(asked.options["by"]), asked.options["intervals"]
    if intervals not in YES_OR_NO:
        raise InvalidInputError(f"intervals: found {intervals!r}.", "Send yes or no.", "intervals")
    report = await margin_report(connection, **scope, by=by, without=("cost",))
    if intervals == NO:
        return report
    return replace(report, intervals=await find_intervals(connection, report))


def _show(report: MarginReport, _asked: Asked) -> Iterator[Shown]:
    headers, rows = to_table(report)
    currency = f", amounts in {report.currency}"
    numbers = len(headers) - len(report.by)
    yield ReportTable("Margin", headers, rows, numbers, FIRST, currency)
    yield from _remarks(report)
    yield from how_to_trace(line.scope for line in report.own_lines)
    if report.conservation.estimated_mj:
        yield f"{known(report.conservation.metered_pct)} % of the boards' energy was metered."
    for line in to_lines(report.implausible):
        yield Warned(line)
    if report.missing is not None:
        yield Warned(f"Cost and margin are unknown. {report.missing}")


def _remarks(report: MarginReport) -> Iterator[str]:
    if report.own_lines and report.missing is None:
        yield (
            "The total's kWh, electricity and GPU cost hold what is nobody's, whose cost is what"
            " users have no share of; J/output token and margin before idle are of users' work"
            " alone."
        )
    off = report.intervals
    if off is not None and any(each.cost is None for each in off.groups.values()):
        yield (
            "How far a row may be off is unknown where weights were declared and not fitted"
            " (tokenledger report calibration), and where work is implausible."
        )


MARGIN = PeriodReport(
    "margin",
    "/v1/margins",
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
