"""What tokens took in energy, money, carbon and water: by kind, and for each million of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

from ledger.domain.apportion import amount_of
from ledger.domain.cost.cause import cause_of
from ledger.domain.cost.efficiency import (
    DIMENSIONS,
    MICRO,
    TOKEN_KINDS,
    Efficiency,
    EfficiencyRow,
    EfficiencySum,
    Taken,
    efficiency,
)
from ledger.domain.cost.plausible import ImplausibleWork
from ledger.domain.cost.uncertainty import Uncertainty
from ledger.domain.errors import InvalidInputError, MissingInputError
from ledger.domain.money import ROUNDING, plain
from ledger.flows.cost.recall import recall_parts
from ledger.reports.cost.csv_lines import group_lines
from ledger.reports.cost.figures import (
    UNKNOWN,
    each_million,
    ends,
    figures_of_tokens,
    joules_per_output_token,
    kwh,
    line_name,
    percent,
)
from ledger.reports.cost.gaps import list_gaps, refuse
from ledger.reports.cost.implausible import to_lines as implausible_lines
from ledger.reports.cost.margin import find_entity
from ledger.reports.cost.weights_used import uncertain_weights, weight_lines, weights_json
from ledger.reports.report import (
    Asked,
    PeriodReport,
    ReportOption,
    ReportScope,
    ReportTable,
    ScopedReport,
    Shown,
    Warned,
    names_of,
)
from ledger.store.connect import CutOff
from ledger.store.cost.grid import (
    GridHole,
    find_grid_holes,
    sum_efficiency,
    sum_token_kinds,
)
from ledger.store.cost.producers import list_implausible
from ledger.store.cost.weight_checks import WeightsUsed, list_weights_used
from ledger.store.queries import Connection
from ledger.store.within import OfEntity, Within
from ledger.wire.efficiency_answers import Efficiency as EfficiencyAnswer
from ledger.wire.units import MJ_PER_KWH

ORDERS = ("name", "cost", "energy")
SHOWN = (
    *("tokens", "output tokens", "kWh", "J/output token", "cost", "g CO2e", "g CO2e contracted"),
    *("ml water", "cost/M", "g CO2e/M", "± % J", "± % cost"),
)
FIRST = ("output tokens", "kWh", "J/output token", "cost", "g CO2e", "ml water")
GAPS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class EfficiencyReport(ScopedReport):
    """What tokens took over [since, until) as known at a cut-off; where `missing` says what the
    cost lacks, it is unknown."""

    currency: str
    by: tuple[str, ...]
    order: str
    taken: Efficiency
    holes: tuple[GridHole, ...]
    missing: str | None
    weights: Sequence[WeightsUsed]
    implausible: Sequence[ImplausibleWork]

    @property
    def rows(self) -> Sequence[EfficiencyRow]:
        """The rows in the order asked for; what made no output comes last."""
        if self.order == "name":
            return self.taken.rows
        return sorted(self.taken.rows, key=self._rank)

    def _rank(self, row: EfficiencyRow) -> tuple[bool, Decimal]:
        took = row.taken.cost if self.order == "cost" else row.taken.energy_mj
        output = row.tokens["output"]
        return not output, ROUNDING.divide(Decimal(took), Decimal(output or 1))


async def efficiency_report(
    connection: Connection,
    *,
    entity_id: str,
    since: datetime,
    until: datetime,
    cut_off: CutOff,
    by: Sequence[str] = ("model",),
    order: str = "name",
) -> EfficiencyReport:
    """What tokens of each group took; MissingInputError for an entity without hardware."""
    _check(by, order)
    entity = await find_entity(connection, entity_id)
    within: Within = {"since": since, "until": until, "batch_seq": cut_off.batch_seq}
    asked = OfEntity(entity_id=entity_id, **within)
    await recall_parts(connection, **asked)
    sums = await sum_efficiency(connection, by=by, zone=entity.zone, **asked)
    tokens = await sum_token_kinds(connection, by=by, **asked)
    weights = await list_weights_used(connection, **asked)
    implausible = await list_implausible(connection, **asked)
    in_scopes = {f"deployment:{each.deployment_id}" for each in implausible}
    missing = None
    try:
        refuse(await list_gaps(connection, entity, **within), f"The cost of {entity_id}")
        _refuse_currencies(entity_id, sums)
    except MissingInputError as error:
        missing = str(error)
    return EfficiencyReport(
        entity_id=entity_id,
        since=since,
        until=until,
        cut_off=cut_off,
        currency=sums[0].currency if sums else entity.currency,
        by=tuple(by),
        order=order,
        taken=efficiency(sums, tokens, by, uncertain_weights(weights), in_scopes),
        holes=tuple(await find_grid_holes(connection, **asked)),
        missing=missing,
        weights=weights,
        implausible=implausible,
    )


def _check(by: Sequence[str], order: str) -> None:
    wrong = [name for name in by if name not in DIMENSIONS]
    if wrong or not by:
        raise InvalidInputError(
            f"by: found {', '.join(wrong) or 'nothing'}.", f"Send some of {', '.join(DIMENSIONS)}."
        )
    if order not in ORDERS:
        raise InvalidInputError(f"order: found {order!r}.", f"Send {' or '.join(ORDERS)}.", "order")


def _refuse_currencies(entity_id: str, sums: Sequence[EfficiencySum]) -> None:
    currencies = sorted({each.currency for each in sums})
    if len(currencies) > 1:
        raise MissingInputError(
            f"The costs of {entity_id} are in {' and '.join(currencies)}.",
            "Enter its hardware and tariffs in one currency.",
        )


def _to_json(report: EfficiencyReport) -> Mapping[str, object]:
    said = _Said(report.missing is not None)
    return {
        **report.of_what(),
        "currency": report.currency,
        "missing": report.missing,
        "by": list(report.by),
        "order": report.order,
        "items": [
            dict(zip(report.by, row.group, strict=True))
            | said.row(row)
            | {"kinds": said.kinds(row)}
            for row in report.rows
        ],
        "own_lines": [
            {
                "line": row.group[0],
                "scope": row.group[1],
                "cause": cause_of(*row.group),
                **said.taken(row.taken),
            }
            for row in report.taken.own_lines
        ],
        "total": said.row(report.taken.total),
        "grid_gaps": [
            {
                "facility_id": hole.facility_id,
                "kind": hole.kind,
                "since": hole.valid_from,
                "until": hole.valid_to,
            }
            for hole in report.holes
        ],
        "weights": weights_json(report.weights),
        "implausible": [asdict(each) for each in report.implausible],
    }


@dataclass(frozen=True, slots=True)
class _Said:
    """How what was taken is told; a cost that lacks something is not."""

    costless: bool

    def taken(self, taken: Taken) -> dict[str, object]:
        """Energy, cost, carbon and water."""
        return {
            "energy_mj": taken.energy_mj,
            "energy_kwh": kwh(taken.energy_mj),
            "cost": None if self.costless else plain(amount_of(taken.cost)),
            **{name: _micro(value) for name, value in _footprint(taken).items()},
        }

    def row(self, row: EfficiencyRow) -> dict[str, object]:
        """The same, with tokens and what a million of them took."""
        tokens, output = sum(row.tokens.values()), row.tokens["output"]
        return {
            **self.taken(row.taken),
            "tokens": tokens,
            "output_tokens": output,
            "joules_per_output_token": joules_per_output_token(row.taken.energy_mj, output),
            "output_tokens_per_kwh": _per_kwh(row.taken.energy_mj, output),
            "per_million": self.per_million(row.taken, tokens),
            "interval": self.interval(row),
            "estimated_percent": _part(row.estimated_mj, row.taken.energy_mj),
            "implausible": row.is_implausible,
        }

    def interval(self, row: EfficiencyRow) -> dict[str, object]:
        """Between what a row's figures lie, by its meters, estimates and weights."""
        tokens, output = sum(row.tokens.values()), row.tokens["output"]
        uncertainty = Uncertainty(row.uncertainty.energy) if self.costless else row.uncertainty
        each = figures_of_tokens(row.taken.energy_mj, amount_of(row.taken.cost), tokens, output)
        return {
            "energy_percent": percent(uncertainty.energy),
            "cost_percent": percent(uncertainty.cost),
            "joules_per_output_token": ends(each["joules_per_output_token"], uncertainty.energy),
            "cost_per_million": ends(each["cost_per_million"], uncertainty.cost),
        }

    def kinds(self, row: EfficiencyRow) -> list[dict[str, object]] | None:
        """What tokens of each kind took, and a million of them."""
        if row.by_kind is None:
            return None
        return [
            {
                "kind": kind,
                "tokens": row.tokens[kind],
                **self.taken(row.by_kind[kind]),
                "per_million": self.per_million(row.by_kind[kind], row.tokens[kind]),
            }
            for kind in TOKEN_KINDS
        ]

    def per_million(self, taken: Taken, tokens: int) -> dict[str, str | None] | None:
        """What a million of so many tokens took; None without any."""
        if not tokens:
            return None
        return {
            "energy_kwh": each_million(Decimal(taken.energy_mj), tokens, MJ_PER_KWH),
            "cost": None if self.costless else each_million(amount_of(taken.cost), tokens),
            **{
                name: None if value is None else each_million(Decimal(value), tokens, MICRO)
                for name, value in _footprint(taken).items()
            },
        }


def _footprint(taken: Taken) -> dict[str, int | None]:
    return {
        "carbon_location_g": taken.carbon_location,
        "carbon_market_g": taken.carbon_market,
        "water_ml": taken.water,
    }


def _micro(value: int | None) -> str | None:
    return None if value is None else plain(Decimal(value).scaleb(-6))


def _part(some: int, whole: int) -> str | None:
    return percent(Fraction(some, whole)) if whole else None


def _per_kwh(energy_mj: int, output: int) -> str | None:
    if not energy_mj or not output:
        return None
    exact = ROUNDING.divide(Decimal(output * MJ_PER_KWH), Decimal(energy_mj))
    return plain(exact.quantize(Decimal("0.001"), ROUND_HALF_EVEN, ROUNDING))


async def _read(connection: Connection, scope: ReportScope, asked: Asked) -> EfficiencyReport:
    by, order = names_of(asked.options["by"]), asked.options["order"]
    return await efficiency_report(connection, **scope, by=by, order=order)


def _show(report: EfficiencyReport, _asked: Asked) -> Iterator[Shown]:
    said = _Said(report.missing is not None)
    blank = ("",) * (len(report.by) - 1)
    rows = [(*row.group, *_cells(said.row(row))) for row in report.rows]
    rows += [
        (line_name(row.group[0], row.group[1]), *blank, *_cells(said.taken(row.taken)))
        for row in report.taken.own_lines
    ]
    rows.append(("total", *blank, *_cells(said.row(report.taken.total))))
    behind = f", amounts in {report.currency}"
    yield ReportTable("Efficiency", (*report.by, *SHOWN), rows, len(SHOWN), FIRST, behind)
    if any(row.by_kind for row in report.rows):
        yield ReportTable("By kind of token", (*report.by, "kind", *KINDS), _kinds(report, said), 5)
    if report.missing is not None:
        yield Warned(f"Cost is unknown. {report.missing}")
    estimated = _part(report.taken.total.estimated_mj, report.taken.total.taken.energy_mj)
    if report.taken.total.estimated_mj:
        yield f"{estimated} % of the energy was estimated where no meter says it."
    for line in implausible_lines(report.implausible):
        yield Warned(line)
    yield from _hole_lines(report.holes)
    yield from weight_lines(report.weights)


KINDS = ("tokens", "kWh/M", "cost/M", "g CO2e/M", "ml water/M")


def _kinds(report: EfficiencyReport, said: _Said) -> list[tuple[str, ...]]:
    rows = []
    for row in report.rows:
        for kind in TOKEN_KINDS if row.by_kind else ():
            assert row.by_kind is not None
            each = said.per_million(row.by_kind[kind], row.tokens[kind]) or {}
            names = ("energy_kwh", "cost", "carbon_location_g", "water_ml")
            rows.append(
                (
                    *(*row.group, kind.replace("_", " "), f"{row.tokens[kind]:,}"),
                    *(each.get(name) or UNKNOWN for name in names),
                )
            )
    return rows


def _cells(said: Mapping[str, object]) -> tuple[str, ...]:
    """The columns of `SHOWN`; a line that is nobody's has no tokens."""
    each = said.get("per_million")
    per_million = each if isinstance(each, Mapping) else {}
    off = said.get("interval")
    interval = off if isinstance(off, Mapping) else {}
    tokens = [f"{said[name]:,}" if name in said else "" for name in ("tokens", "output_tokens")]
    figures = (
        *(said["energy_kwh"], said.get("joules_per_output_token"), said["cost"]),
        *(said["carbon_location_g"], said["carbon_market_g"], said["water_ml"]),
        *(per_million.get("cost"), per_million.get("carbon_location_g")),
        *(interval.get("energy_percent"), interval.get("cost_percent")),
    )
    return (*tokens, *(UNKNOWN if value is None else str(value) for value in figures))


def _hole_lines(holes: Sequence[GridHole]) -> Iterator[Shown]:
    for hole in holes[:GAPS_SHOWN]:
        yield Warned(
            f"{hole.facility_id or 'A meter at no site'} has no {hole.kind} of a kWh from"
            f" {hole.valid_from:%Y-%m-%dT%H:%MZ} to {hole.valid_to:%Y-%m-%dT%H:%MZ}: import grid."
        )
    if len(holes) > GAPS_SHOWN:
        yield Warned(f"And {len(holes) - GAPS_SHOWN:,} more times.")


EFFICIENCY = PeriodReport(
    "efficiency",
    "/v1/efficiency",
    "What tokens took: energy, cost, g CO2e and ml of water, by kind and for each million.\n\n"
    "Groups have what their own work took; what was idle or unattributed stands beside them, and"
    " the total has it all. Ranked by cost or energy of an output token, if asked.",
    EfficiencyAnswer,
    _read,
    _to_json,
    _show,
    (
        ReportOption("by", "model", f"{', '.join(DIMENSIONS)}."),
        ReportOption("order", "name", "name, cost or energy: of an output token, least first."),
    ),
    csv=group_lines,
)
