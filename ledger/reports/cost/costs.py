"""What was spent: by who used what, by kind of cost and by day, each of which comes to the same."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

from ledger.domain.cost.cause import IDLE, USAGE
from ledger.domain.money import ROUNDING, plain, round_minor, total
from ledger.domain.period import day_of
from ledger.reports.bars import bars
from ledger.reports.cost import margin_json
from ledger.reports.cost.csv_lines import USED, Line, margin_lines
from ledger.reports.cost.figures import SIX, UNKNOWN, each_million, kwh, line_name, percent
from ledger.reports.cost.implausible import to_lines
from ledger.reports.cost.margin import MarginReport, find_entity, margin_report
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
from ledger.store.cost.margin import DIMENSIONS, CostDaySum, sum_cost_days
from ledger.store.cost.site_costs import SiteDay, list_site_days, list_sites
from ledger.store.queries import Connection
from ledger.store.within import OfEntity
from ledger.wire.cost_answers import Costs

# What a margin says and a cost does not.
OF_MARGIN = ("conservation", "conversions")
OF_REVENUE = (
    *("revenue", "unpriced_tokens", "gross_margin_before_idle_pct", "gross_margin_pct"),
    "markup_pct",
)
COUNTED = ("input_tokens", "output_tokens")
MILLIONS = ("cost_per_million_before_idle", "cost_per_million")
SHOWN = {
    "input tokens": "input_tokens",
    "output tokens": "output_tokens",
    "kWh": "energy_kwh",
    "electricity": "electricity",
    "GPU cost": "gpu_cost",
    "idle share": "idle_share",
    "site share": "site_share",
    "cost": "cost",
    "before idle/M": MILLIONS[0],
    "cost/M": MILLIONS[1],
}
FIRST = ("cost", "cost/M", "kWh", "output tokens", "electricity", "GPU cost", "idle share")
DAYS = ("kWh", "electricity", "overhead", "GPU cost", "sites", "cost", "idle", "unattributed")


@dataclass(frozen=True, slots=True)
class DayCost:
    """What a local day took in mJ and cost by kind, of which some were no usage's."""

    day: date
    energy_mj: int
    electricity: Decimal
    overhead: Decimal
    gpu_cost: Decimal
    site_cost: Decimal
    idle: Decimal
    unattributed: Decimal

    @property
    def cost(self) -> Decimal:
        """All of it."""
        return total([self.electricity, self.overhead, self.gpu_cost, self.site_cost])


@dataclass(frozen=True, slots=True)
class CostsReport:
    """Costs of groups as a margin has them, and of days; none where the cost lacks something."""

    margin: MarginReport
    days: tuple[DayCost, ...]

    @property
    def kinds(self) -> list[tuple[str, str | None, Decimal]]:
        """Kind, site and amount: what is spent on each."""
        spent: list[tuple[str, str | None, Decimal]] = [
            ("electricity", None, total([each.electricity for each in self.days])),
            ("overhead", None, total([each.overhead for each in self.days])),
            ("hardware", None, total([each.gpu_cost for each in self.days])),
        ]
        sites = self.margin.site_costs
        return spent + [(each.name, each.facility_id, each.amount) for each in sites]


async def costs_report(
    connection: Connection, scope: ReportScope, by: Sequence[str] = ("tier",)
) -> CostsReport:
    """Costs of a period, unknown where they lack something: the margin in it says what."""
    margin = await margin_report(connection, **scope, by=by, without=("cost", "revenue"))
    if margin.missing is not None:
        return CostsReport(margin, ())
    entity = await find_entity(connection, margin.entity_id)
    asked = OfEntity(
        entity_id=entity.entity_id,
        since=margin.since,
        until=margin.until,
        batch_seq=margin.cut_off.batch_seq,
    )
    sums = await sum_cost_days(connection, zone=entity.zone, **asked)
    sites = await list_sites(connection, entity_id=entity.entity_id)
    zones = {site.facility_id: site.zone for site in sites}
    accrued = await list_site_days(connection, **asked)
    return CostsReport(margin, _days(sums, accrued, zones))


def _days(
    sums: Sequence[CostDaySum], accrued: Sequence[SiteDay], zones: Mapping[str, str]
) -> tuple[DayCost, ...]:
    lines: dict[date, list[CostDaySum]] = defaultdict(list)
    sites: dict[date, list[Decimal]] = defaultdict(list)
    for line in sums:
        lines[line.day].append(line)
    for each in accrued:
        sites[day_of(each.day_start, zones[each.facility_id])].append(each.amount)
    return tuple(_day(day, lines[day], sites[day]) for day in sorted({*lines, *sites}))


def _day(day: date, lines: Sequence[CostDaySum], sites: list[Decimal]) -> DayCost:
    return DayCost(
        day,
        sum(line.energy_mj for line in lines),
        total([line.electricity for line in lines]),
        total([line.overhead for line in lines]),
        total([line.gpu_cost for line in lines]),
        total(sites),
        total([line.cost for line in lines if line.line == IDLE]),
        total([line.cost for line in lines if line.line not in (IDLE, USAGE)]),
    )


def _to_json(report: CostsReport) -> Line:
    said = margin_json.to_json(report.margin)
    known = report.margin.missing is None
    return {name: value for name, value in said.items() if name not in OF_MARGIN} | {
        "items": [_row_json(row) for row in said["items"]],
        "total": _row_json(said["total"]),
        "kinds": _kinds_json(report) if known else None,
        "days": [_day_json(each) for each in report.days] if known else None,
    }


def _row_json(row: Line) -> Line:
    costs = {name: value for name, value in row.items() if name not in OF_REVENUE}
    return costs | {
        "cost_per_million_before_idle": _per_million(row, "cost_before_idle"),
        "cost_per_million": _per_million(row, "cost"),
    }


def _per_million(row: Line, name: str) -> str | None:
    tokens = (row["input_tokens"] or 0) + (row["output_tokens"] or 0)
    return each_million(Decimal(row[name]), tokens) if tokens and row[name] is not None else None


def _kinds_json(report: CostsReport) -> list[Line]:
    whole = report.margin.cost
    return [
        {
            "kind": kind,
            "facility_id": site,
            "amount": plain(amount),
            "percent": percent(Fraction(amount) / Fraction(whole)) if whole else None,
        }
        for kind, site, amount in report.kinds
    ]


def _day_json(each: DayCost) -> Line:
    return {
        "day": each.day,
        "energy_mj": each.energy_mj,
        "energy_kwh": kwh(each.energy_mj),
        "electricity": plain(each.electricity),
        "overhead": plain(each.overhead),
        "gpu_cost": plain(each.gpu_cost),
        "site_cost": plain(each.site_cost),
        "cost": plain(each.cost),
        "idle": plain(each.idle),
        "unattributed": plain(each.unattributed),
    }


async def _read(connection: Connection, scope: ReportScope, asked: Asked) -> CostsReport:
    return await costs_report(connection, scope, names_of(asked.options["by"]))


def _show(report: CostsReport, _asked: Asked) -> Iterator[Shown]:
    margin, said = report.margin, _to_json(report)
    behind = f", amounts in {margin.currency}"
    yield _by_who(margin, said, behind)
    if margin.missing is not None:
        yield Warned(f"Cost is unknown. {margin.missing}")
        return
    yield _by_kind(said, margin.currency, behind)
    if len(report.days) > 1:
        yield _by_day(report.days, margin.currency, behind)
        yield f"cost of each day: {bars([each.cost for each in report.days])}"
    for line in to_lines(margin.implausible):
        yield Warned(line)


def _by_who(report: MarginReport, said: Line, behind: str) -> ReportTable:
    """Its lines of CSV: what policies share out comes off its own line, so that columns add up."""
    lines = [*margin_lines(said)]
    whole = said["total"]
    if report.missing is None:
        whole = _sums(lines) | {name: whole[name] for name in MILLIONS}
    blank = ("",) * (len(report.by) - 1)
    rows = [(*_names(line, report.by), *_cells(line, report.currency)) for line in lines]
    rows.append(("total", *blank, *_cells(whole, report.currency)))
    return ReportTable("Cost", (*report.by, *SHOWN), rows, len(SHOWN), FIRST, behind)


def _sums(lines: Sequence[Line]) -> Line:
    names = (*SHOWN.values(), "energy_mj")
    return {
        name: total([Decimal(line[name]) for line in lines if line[name] is not None])
        for name in names
        if name not in MILLIONS
    }


def _names(line: Line, by: Sequence[str]) -> tuple[str, ...]:
    if line["line"] == USED:
        return tuple(line[name] for name in by)
    name = line_name(line["line"], line["scope"]) if line["scope"] else line["line"]
    return (name, *[""] * (len(by) - 1))


def _cells(line: Line, currency: str) -> Iterator[str]:
    for name in SHOWN.values():
        value = line[name]
        if value is None:
            yield UNKNOWN
        elif name in COUNTED:
            yield f"{int(value):,}"
        elif name == "energy_kwh":
            yield kwh(int(line["energy_mj"]))
        elif name in MILLIONS:
            yield plain(Decimal(value).quantize(SIX, ROUND_HALF_EVEN, ROUNDING))
        else:
            yield _money(Decimal(value), currency)


def _by_kind(said: Line, currency: str, behind: str) -> ReportTable:
    rows = [
        (
            f"{each['kind']} of {each['facility_id']}" if each["facility_id"] else each["kind"],
            _money(Decimal(each["amount"]), currency),
            each["percent"] or UNKNOWN,
        )
        for each in said["kinds"]
    ]
    return ReportTable("By kind", ("kind", "cost", "%"), rows, 2, behind=behind)


def _by_day(days: Sequence[DayCost], currency: str, behind: str) -> ReportTable:
    rows = [
        (
            each.day,
            kwh(each.energy_mj),
            *(
                _money(amount, currency)
                for amount in (each.electricity, each.overhead, each.gpu_cost, each.site_cost)
            ),
            *(_money(amount, currency) for amount in (each.cost, each.idle, each.unattributed)),
        )
        for each in days
    ]
    return ReportTable("By day", ("day", *DAYS), rows, len(DAYS), ("cost", "kWh", "idle"), behind)


def _money(amount: Decimal, currency: str) -> str:
    return plain(round_minor(amount, currency))


COSTS = PeriodReport(
    "cost",
    "/v1/costs",
    "What was spent: by who used what, by kind of cost and by day.\n\n"
    "Before idle is what a group's own work took; cost has its shares of idle and of sites as well."
    " Overhead is what a site used beside boards and hosts. Where a cost is incomplete it is"
    " unknown: `missing` says what it lacks, and every cost is null.",
    Costs,
    _read,
    _to_json,
    _show,
    (ReportOption("by", "tier", f"{', '.join(DIMENSIONS)}."),),
    csv=margin_lines,
)
