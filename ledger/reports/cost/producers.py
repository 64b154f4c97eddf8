"""Deployments, models, hardware and GPU types by what they take for tokens: the best first."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from operator import itemgetter

from ledger.domain.cost.cause import USAGE
from ledger.domain.cost.producer import (
    PRODUCERS,
    AllocatedCost,
    Producer,
    producers,
    share_revenue,
)
from ledger.domain.energy.gpu_part import GPU_PARTS
from ledger.domain.entity import LegalEntity
from ledger.domain.errors import InvalidInputError, MissingInputError
from ledger.domain.money import ROUNDING, UNIT, ZERO, plain, total
from ledger.domain.period import Period
from ledger.flows.cost.recall import recall_parts
from ledger.reports.cost.exchange import convert
from ledger.reports.cost.figures import UNKNOWN, joules_per_output_token, kwh
from ledger.reports.cost.gaps import list_gaps, refuse
from ledger.reports.cost.margin import find_entity
from ledger.reports.report import (
    Asked,
    PeriodReport,
    ReportOption,
    ReportScope,
    ReportTable,
    ScopedReport,
    Shown,
    Warned,
)
from ledger.store.cost import margin
from ledger.store.cost.producers import sum_producers
from ledger.store.pricing.charged import find_charged
from ledger.store.queries import Connection
from ledger.store.within import OfEntity, Within
from ledger.wire.producer_answers import Producers as ProducersAnswer
from ledger.wire.units import MJ_PER_J, MJ_PER_KWH

ORDERS = ("cost", "energy", "name")
DEPLOYMENT = "deployment:"
QUARTERS = 4
MILLION = 10**6
_THOUSANDTH = Decimal("0.001")


@dataclass(frozen=True, slots=True)
class ProducersReport(ScopedReport):
    """Producers; where `missing` says what is missing, cost and revenue are unknown."""

    currency: str
    by: str
    order: str
    items: Sequence[Producer]
    unshared: Decimal
    missing: str | None


async def producers_report(
    connection: Connection, scope: ReportScope, *, by: str = "deployment", order: str = "cost"
) -> ProducersReport:
    """What deployments, models or hardware took and made; MissingInputError for an entity without
    hardware."""
    _check(by, order)
    entity = await find_entity(connection, scope["entity_id"])
    since, until, seq = scope["since"], scope["until"], scope["cut_off"].batch_seq
    within: Within = {"since": since, "until": until, "batch_seq": seq}
    asked = OfEntity(entity_id=entity.entity_id, **within)
    await recall_parts(connection, **asked)
    sums = await sum_producers(connection, **asked)
    currencies = sorted({each.currency for each in sums})
    currency = currencies[0] if currencies else entity.currency
    revenue, left, missing = dict[str, Decimal](), ZERO, None
    try:
        refuse(await list_gaps(connection, entity, **within), f"The cost of {entity.entity_id}")
        if len(currencies) > 1:
            raise MissingInputError(
                f"Its costs are in {' and '.join(currencies)}.",
                "Enter its hardware and tariffs in one currency.",
            )
        revenue, left = await _revenue(connection, entity, currency, within)
    except MissingInputError as error:
        missing = str(error)
    items = producers(sums, by, revenue)
    if order != "name":
        items.sort(key=lambda each: each.rank(order))
    return ProducersReport(
        **scope,
        currency=currency,
        by=by,
        order=order,
        items=items,
        unshared=left,
        missing=missing,
    )


def _check(by: str, order: str) -> None:
    if by not in PRODUCERS:
        raise InvalidInputError(f"by: found {by!r}.", f"Send {' or '.join(PRODUCERS)}.", "by")
    if order not in ORDERS:
        raise InvalidInputError(f"order: found {order!r}.", f"Send {' or '.join(ORDERS)}.", "order")


async def _revenue(
    connection: Connection, entity: LegalEntity, currency: str, within: Within
) -> tuple[dict[str, Decimal], Decimal]:
    """What each deployment earned, and what none did."""
    name = entity.entity_id
    charged = await find_charged(
        connection,
        Period(within["since"], within["until"]),
        entity_id=name,
        batch_seq=within["batch_seq"],
    )
    charges = await margin.sum_charges(
        connection, by=("model",), charged=charged, entity_id=name, **within
    )
    converted, _ = await convert(connection, charges, currency, entity, charged, within)
    by_model: dict[str, list[Decimal]] = defaultdict(list)
    for each in converted:
        by_model[each.model or ""].append(each.amount)
    lines = await margin.sum_cost_lines(connection, by=("model",), entity_id=name, **within)
    costs = [
        AllocatedCost(
            line.scope.removeprefix(DEPLOYMENT),
            line.model or "",
            total([line.device_cost, line.overhead_cost, line.gpu_cost]),
        )
        for line in lines
        if line.line == USAGE
    ]
    return share_revenue({model: total(some) for model, some in by_model.items()}, costs)


def _to_json(report: ProducersReport) -> Mapping[str, object]:
    lacks = report.missing is not None
    return {
        **report.of_what(),
        "currency": report.currency,
        "missing": report.missing,
        "by": report.by,
        "order": report.order,
        "items": [_said(each, lacks=lacks) for each in report.items],
        "unshared_revenue": None if lacks else plain(report.unshared),
    }


def _said(each: Producer, *, lacks: bool) -> dict[str, object]:
    hours = _gpu_hours(each.part_windows)
    output, energy = Decimal(each.output), Decimal(each.energy_mj)
    used, million = _times(each.utilisation, 100), _times(each.cost, MILLION)
    return {
        "name": each.name,
        "gpu_hours": plain(hours),
        "utilisation_percent": _over(used, Decimal(1), _THOUSANDTH),
        "energy_mj": each.energy_mj,
        "energy_kwh": kwh(each.energy_mj),
        "cost": None if lacks else plain(each.cost),
        "input_tokens": each.input,
        "output_tokens": each.output,
        "joules_per_output_token": joules_per_output_token(each.energy_mj, each.output),
        "output_tokens_per_joule": _over(_times(output, MJ_PER_J), energy),
        "output_tokens_per_kwh": _over(_times(output, MJ_PER_KWH), energy, _THOUSANDTH),
        "output_tokens_per_gpu_hour": _over(output, hours, _THOUSANDTH),
        "cost_per_million_output": None if lacks else _over(million, output),
        "revenue": None if lacks else plain(each.revenue),
        "revenue_per_gpu_hour": None if lacks else _over(each.revenue, hours),
    }


def _gpu_hours(part_windows: int) -> Decimal:
    hours = ROUNDING.divide(Decimal(part_windows), Decimal(QUARTERS * GPU_PARTS))
    return hours.quantize(UNIT, ROUND_HALF_EVEN, ROUNDING).normalize(ROUNDING)


def _times(value: Decimal, count: int) -> Decimal:
    return ROUNDING.multiply(value, Decimal(count))


def _over(part: Decimal, whole: Decimal, unit: Decimal = UNIT) -> str | None:
    """None where there is nothing to divide by."""
    if not whole:
        return None
    return plain(ROUNDING.divide(part, whole).quantize(unit, ROUND_HALF_EVEN, ROUNDING))


SHOWN = {
    "output tokens": "output_tokens",
    "GPU hours": "gpu_hours",
    "used %": "utilisation_percent",
    "kWh": "energy_kwh",
    "J/output token": "joules_per_output_token",
    "tokens/J": "output_tokens_per_joule",
    "tokens/kWh": "output_tokens_per_kwh",
    "tokens/GPU hour": "output_tokens_per_gpu_hour",
    "cost": "cost",
    "cost/M output": "cost_per_million_output",
    "revenue": "revenue",
    "revenue/GPU hour": "revenue_per_gpu_hour",
}
FIRST = ("output tokens", "used %", "J/output token", "cost/M output", "revenue/GPU hour")


def _show(report: ProducersReport, _asked: Asked) -> Iterator[Shown]:
    rows = [
        (each.name, *(_cell(said[name]) for name in SHOWN.values()))
        for each in report.items
        for said in [_said(each, lacks=report.missing is not None)]
    ]
    behind = f", amounts in {report.currency}"
    yield ReportTable("Producers", (report.by, *SHOWN), rows, len(SHOWN), FIRST, behind)
    if report.missing is not None:
        yield Warned(f"Cost and revenue are unknown. {report.missing}")
    elif report.unshared:
        yield Warned(
            f"{plain(report.unshared)} {report.currency} is revenue of models that no deployment"
            " worked for."
        )


def _cell(value: object) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:,}" if isinstance(value, int) else str(value)


async def _read(connection: Connection, scope: ReportScope, asked: Asked) -> ProducersReport:
    by, order = asked.options["by"], asked.options["order"]
    return await producers_report(connection, scope, by=by, order=order)


PRODUCERS_REPORT = PeriodReport(
    "producers",
    "/v1/producers",
    "Deployments, models, hardware or types of GPU by what an output token takes there, least"
    " first: with all that their GPUs took, idle as well, how far these were used, and what a GPU"
    " hour made and earned.",
    ProducersAnswer,
    _read,
    _to_json,
    _show,
    (
        ReportOption(
            "by",
            "deployment",
            f"{', '.join(PRODUCERS)}: hardware by its name, gpu_type as its asset says.",
        ),
        ReportOption("order", "cost", "cost or energy of an output token, or name."),
    ),
    csv=itemgetter("items"),
)
