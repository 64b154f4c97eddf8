"""How far the rows of a margin may be off, by what efficiency knows of their meters and weights."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from ledger.domain.cost.uncertainty import (
    UNKNOWN,
    Taking,
    Uncertainty,
    of_full_cost,
    uncertainty_of_all,
)
from ledger.reports.cost.efficiency import efficiency_report
from ledger.reports.cost.figures import HUNDREDTH, between, ends, figures_of_tokens, percent
from ledger.reports.cost.margin import MarginReport
from ledger.reports.cost.margin_rows import MarginIntervals, MarginRow, OwnLine
from ledger.store.queries import Connection


async def find_intervals(connection: Connection, report: MarginReport) -> MarginIntervals:
    """Of a margin's rows; unknown where cost is missing, or work is implausible."""
    if report.missing is not None:
        return MarginIntervals({row.group: UNKNOWN for row in report.rows}, UNKNOWN)
    efficiency = await efficiency_report(
        connection,
        entity_id=report.entity_id,
        since=report.since,
        until=report.until,
        cut_off=report.cut_off,
        by=report.by,
    )
    of_idle = uncertainty_of_all(_taken(each) for each in report.own_lines if each.line == "idle")
    known = {row.group: row.uncertainty for row in efficiency.taken.rows}
    groups = {row.group: _full(row, known.get(row.group, UNKNOWN), of_idle) for row in report.rows}
    if efficiency.taken.total.is_implausible:
        return MarginIntervals(groups, UNKNOWN)
    return MarginIntervals(groups, _of_all(report))


def to_json(row: MarginRow, cost: Decimal, off: Uncertainty) -> dict[str, object]:
    """Between what figures of a row lie that costs so much with all its shares."""
    tokens = row.input_tokens + row.output
    each = figures_of_tokens(row.energy_mj, cost, tokens, row.output)
    return {
        "energy_percent": percent(off.energy),
        "cost_percent": percent(off.cost),
        "joules_per_output_token": ends(each["joules_per_output_token"], off.energy),
        "cost_per_million": ends(each["cost_per_million"], off.cost),
        "gross_margin_pct": _margin(Fraction(row.revenue), Fraction(cost), off.cost),
    }


def _margin(revenue: Fraction, cost: Fraction, off: Fraction | None) -> dict[str, str] | None:
    if off is None or not revenue:
        return None
    dear, cheap = (100 * (1 - cost * part / revenue) for part in (1 + off, 1 - off))
    return between(dear, cheap, HUNDREDTH)


def _of_all(report: MarginReport) -> Uncertainty:
    """Energy of the work alone, and all costs: weights move nothing of either."""
    used, own = _taken(report.total), [_taken(each) for each in report.own_lines]
    everything = uncertainty_of_all([used, *own])
    lines = sum((each.cost for each in own), used.cost)
    sites = Fraction(report.site_cost)
    cost = of_full_cost(everything, lines, Fraction(0), sites, UNKNOWN)
    return Uncertainty(uncertainty_of_all([used]).energy, cost)


def _full(row: MarginRow, own: Uncertainty, of_idle: Uncertainty) -> Uncertainty:
    amounts = (row.cost_before_idle, row.idle_share, row.site_share)
    cost, idle, sites = (Fraction(amount) for amount in amounts)
    return replace(own, cost=of_full_cost(own, cost, idle, sites, of_idle))


def _taken(of: MarginRow | OwnLine) -> Taking:
    cost = of.cost_before_idle if isinstance(of, MarginRow) else of.cost
    return Taking(
        Fraction(of.energy_mj), Fraction(cost), Fraction(of.estimated_mj), Fraction(of.electricity)
    )
