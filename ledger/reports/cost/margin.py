"""Margins: revenue beside cost, before and after a named policy spreads idle cost.

Refused with the names of what is missing where a cost is incomplete, never shown as 100 %.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

from ledger.domain.cost.cost_sum import ChargeSum, CostSum
from ledger.domain.cost.idle_policy import ASSET, PEAK_SHARE, IdlePolicy
from ledger.domain.cost.margin import percent
from ledger.domain.cost.plausible import ImplausibleWork
from ledger.domain.entity import LegalEntity
from ledger.domain.errors import InvalidInputError, MissingInputError, NotFoundError
from ledger.domain.exchange import Conversion
from ledger.domain.money import ZERO, total
from ledger.domain.period import Period, window_of
from ledger.flows.cost.recall import recall_lines, recall_parts
from ledger.reports.cost.exchange import convert
from ledger.reports.cost.gaps import list_gaps, refuse
from ledger.reports.cost.idle_rows import PolicyStretch
from ledger.reports.cost.margin_rows import (
    IDLE_POLICY,
    SITE_POLICY,
    MarginIntervals,
    MarginRow,
    OwnLine,
    SiteShares,
    shape,
    sum_rows,
)
from ledger.reports.report import ScopedReport
from ledger.store.connect import CutOff
from ledger.store.cost import cost, margin
from ledger.store.cost.idle_policies import (
    find_idle_policies,
    find_peaks,
    sum_deployed_gpus,
    sum_peak_lines,
)
from ledger.store.cost.producers import list_implausible
from ledger.store.cost.site_costs import SiteCostSum, find_scope_sites, sum_site_costs
from ledger.store.pricing import rating
from ledger.store.pricing.charged import find_charged
from ledger.store.queries import Connection
from ledger.store.within import OfEntity, Within


@dataclass(frozen=True, slots=True)
class Conservation:
    """What meters and pools hold beyond the cost lines; both residuals are 0 in true books."""

    metered_mj: int
    estimated_mj: int
    lines_mj: int
    pools: Decimal
    lines_cost: Decimal

    @property
    def energy_residual_mj(self) -> int:
        """Device energy measured or estimated that no line carries, in mJ."""
        return self.metered_mj + self.estimated_mj - self.lines_mj

    @property
    def cost_residual(self) -> Decimal:
        """Cost of pools that no line carries."""
        return total([self.pools, self.lines_cost.copy_negate()])

    @property
    def metered_pct(self) -> Decimal | None:
        """How much of the energy was measured; None without energy."""
        known = self.metered_mj + self.estimated_mj
        return percent(Decimal(self.metered_mj), Decimal(known))


@dataclass(frozen=True, slots=True)
class MarginReport(ScopedReport):
    """Margins of an entity over [since, until) as known at a cut-off, grouped `by` dimensions.

    Where `missing` says what the cost lacks, only revenue and usage stand: every cost is unknown,
    and zero here. `intervals` say how far rows may be off, where that was asked.
    """

    currency: str
    by: tuple[str, ...]
    rows: tuple[MarginRow, ...]
    own_lines: tuple[OwnLine, ...]
    total: MarginRow
    conservation: Conservation
    conversions: tuple[Conversion, ...] = ()
    missing: str | None = None
    site_costs: tuple[SiteCostSum, ...] = ()
    sites_left: Decimal = ZERO
    policies: tuple[IdlePolicy, ...] = ()
    site_policy: str = SITE_POLICY
    implausible: tuple[ImplausibleWork, ...] = ()
    intervals: MarginIntervals | None = None

    @property
    def idle_policy(self) -> str:
        """Who pays for idle, in words."""
        return "; ".join(policy.about for policy in self.policies) or IDLE_POLICY

    @property
    def idle_cost(self) -> Decimal:
        """All idle cost, before any policy spreads it."""
        return total([line.cost for line in self.own_lines if line.line == "idle"])

    @property
    def unattributed_cost(self) -> Decimal:
        """Cost of meters nobody deployed, of work that weighs nothing, and of what no request
        claims."""
        return total([line.cost for line in self.own_lines if line.line != "idle"])

    @property
    def site_cost(self) -> Decimal:
        """What sites cost beside energy at its price and hardware, before a policy spreads it."""
        return total([each.amount for each in self.site_costs])

    @property
    def cost(self) -> Decimal:
        """Everything: attributed, idle, unattributed and of sites."""
        own = [line.cost for line in self.own_lines]
        return total([self.total.cost_before_idle, *own, self.site_cost])

    @property
    def energy_mj(self) -> int:
        """Everything, in mJ of the facility."""
        return self.total.energy_mj + sum(line.energy_mj for line in self.own_lines)


async def margin_report(
    connection: Connection,
    *,
    entity_id: str,
    since: datetime,
    until: datetime,
    cut_off: CutOff,
    by: Sequence[str] = ("tier",),
    without: Collection[str] = (),
) -> MarginReport:
    """Margins per group; MissingInputError names what a cost or the conversion of it lacks.

    Without cost, revenue and usage stand where it is missing, and the report says so; without
    revenue no charge is read.
    """
    _check(since, until, by)
    within: Within = {"since": since, "until": until, "batch_seq": cut_off.batch_seq}
    await recall_for_margin(connection, OfEntity(entity_id=entity_id, **within))
    missing = None
    try:
        stretches, sites = await _costs(connection, entity_id, by, within)
    except MissingInputError as error:
        if "cost" not in without:
            raise
        stretches, sites, missing = [], [], str(error)
    lines = [line for stretch in stretches for line in stretch.cost]
    entity = await _entity_of(connection, entity_id)
    usage = await margin.sum_usage(connection, by=by, entity_id=entity_id, **within)
    revenue = _Revenue(_cost_currency(lines, (), entity))
    if "revenue" not in without:
        revenue = await _revenue(connection, entity, lines, by, within)
    site_of = await find_scope_sites(connection, entity_id=entity_id, **within) if sites else {}
    shares = SiteShares(_by_site(sites), site_of)
    shaped = shape(stretches=stretches, usage=usage, charges=revenue.charges, by=by, sites=shares)
    return MarginReport(
        entity_id=entity_id,
        since=since,
        until=until,
        cut_off=cut_off,
        currency=revenue.currency,
        by=tuple(by),
        rows=shaped.rows,
        own_lines=shaped.own_lines,
        total=sum_rows(shaped.rows, ("total",)),
        conservation=await _conservation(connection, entity_id, lines, within),
        conversions=revenue.conversions,
        missing=missing,
        site_costs=tuple(sites),
        sites_left=shaped.sites_left,
        policies=tuple(await find_idle_policies(connection, entity_id=entity_id, **within)),
        implausible=tuple(await list_implausible(connection, entity_id=entity_id, **within)),
    )


@dataclass(frozen=True, slots=True)
class _Revenue:
    """What was earned, in the currency of the cost, and by which rates it was converted."""

    currency: str
    charges: Sequence[ChargeSum] = ()
    conversions: tuple[Conversion, ...] = ()


async def _revenue(
    connection: Connection,
    entity: LegalEntity,
    lines: Sequence[CostSum],
    by: Sequence[str],
    within: Within,
) -> _Revenue:
    name = entity.entity_id
    charged = await find_charged(
        connection,
        Period(within["since"], within["until"]),
        entity_id=name,
        batch_seq=within["batch_seq"],
    )
    charges = await margin.sum_charges(connection, by=by, charged=charged, entity_id=name, **within)
    currency = _cost_currency(lines, charges, entity)
    converted, conversions = await convert(connection, charges, currency, entity, charged, within)
    return _Revenue(currency, converted, conversions)


async def recall_for_margin(connection: Connection, within: OfEntity) -> None:
    """Have the lines that a margin reads window by window; in no transaction where any of them were
    let go."""
    await recall_parts(connection, **within)
    policies = await find_idle_policies(connection, **within)
    for part in _parts(policies, within):
        await recall_parts(connection, **part)
        if _by_peaks(policies):
            peaks = await find_peaks(connection, **part)
            windows = [window_of(peak.window_start) for peak in peaks]
            await recall_lines(connection, part["entity_id"], windows, part["batch_seq"])


def _by_site(sites: Sequence[SiteCostSum]) -> dict[str, Decimal]:
    names = sorted({each.facility_id for each in sites})
    return {
        name: total([each.amount for each in sites if each.facility_id == name]) for name in names
    }


async def _costs(
    connection: Connection, entity_id: str, by: Sequence[str], within: Within
) -> tuple[list[PolicyStretch], list[SiteCostSum]]:
    """All cost lines and costs of sites, in one currency; MissingInputError where the cost is
    incomplete."""
    entity = await find_entity(connection, entity_id)
    period = f"from {within['since']:%Y-%m-%dT%H:%MZ} to {within['until']:%Y-%m-%dT%H:%MZ}"
    refuse(await list_gaps(connection, entity, **within), f"The margin of {entity_id} {period}")
    stretches = await _stretches(connection, entity_id, by, within)
    lines = [line for stretch in stretches for line in stretch.cost]
    sites = await sum_site_costs(connection, entity_id=entity_id, **within)
    currencies = sorted({line.currency for line in lines} | {each.currency for each in sites})
    if len(currencies) > 1:
        raise MissingInputError(
            f"The costs of {entity_id} are in {' and '.join(currencies)}.",
            "Enter its hardware, tariffs and sites in one currency.",
        )
    return stretches, sites


async def _stretches(
    connection: Connection, entity_id: str, by: Sequence[str], within: Within
) -> list[PolicyStretch]:
    """The period, cut where a policy of idle begins or ends."""
    asked = OfEntity(entity_id=entity_id, **within)
    policies = await find_idle_policies(connection, **asked)
    return [await _stretch(connection, policies, by, part) for part in _parts(policies, asked)]


def _parts(policies: Sequence[IdlePolicy], within: OfEntity) -> Iterator[OfEntity]:
    since, until = within["since"], within["until"]
    named = {moment for policy in policies for moment in (policy.valid_from, policy.valid_to)}
    edges = sorted({since, until, *(m for m in named if m is not None and since < m < until)})
    for start, end in pairwise(edges):
        yield {**within, "since": start, "until": end}


def _by_peaks(policies: Sequence[IdlePolicy]) -> bool:
    return any(policy.method == PEAK_SHARE for policy in policies)


async def _stretch(
    connection: Connection, policies: Sequence[IdlePolicy], by: Sequence[str], within: OfEntity
) -> PolicyStretch:
    of_assets = any(policy.scope.startswith(ASSET) for policy in policies)
    return PolicyStretch(
        # Policies may go by the tier, whatever rows are told apart by.
        await margin.sum_cost_lines(connection, by={*by, "tier"}, **within),
        within["since"],
        policies,
        await _peak_lines(connection, within) if _by_peaks(policies) else (),
        await sum_deployed_gpus(connection, **within) if of_assets else (),
    )


async def _peak_lines(connection: Connection, within: OfEntity) -> list[CostSum]:
    return await sum_peak_lines(
        connection,
        await find_peaks(connection, **within),
        entity_id=within["entity_id"],
        batch_seq=within["batch_seq"],
    )


async def _entity_of(connection: Connection, entity_id: str) -> LegalEntity:
    """The entity, whether or not it has a cost; NotFoundError where there is none."""
    entities = await rating.list_entities(connection, entity_id=entity_id)
    if not entities:
        raise NotFoundError(f"There is no entity {entity_id}.", "Enter it, or look at its id.")
    return entities[0]


async def find_entity(connection: Connection, entity_id: str) -> LegalEntity:
    """The entity; MissingInputError where it has neither hardware nor deployment."""
    entities = await cost.list_cost_entities(connection, entity_id=entity_id)
    if entities:
        return entities[0]
    raise MissingInputError(
        f"Entity {entity_id!r} has no cost: missing are its assets and deployments.",
        "Enter what its GPUs cost and which model they serve.",
        where=entity_id,
    )


def _check(since: datetime, until: datetime, by: Sequence[str]) -> None:
    if since >= until:
        raise InvalidInputError(
            f"The period {since.isoformat()} to {until.isoformat()} is empty.",
            "Give an end after the start.",
        )
    wrong = [name for name in by if name not in margin.DIMENSIONS]
    if wrong or not by:
        raise InvalidInputError(
            f"A margin cannot be grouped by {', '.join(wrong) or 'nothing'}.",
            f"Group by some of {', '.join(margin.DIMENSIONS)}.",
        )


def _cost_currency(
    lines: Sequence[CostSum], charges: Sequence[ChargeSum], entity: LegalEntity
) -> str:
    currencies = sorted({line.currency for line in lines})
    priced = sorted({charge.currency for charge in charges if charge.currency})
    return currencies[0] if currencies else (priced[0] if len(priced) == 1 else entity.currency)


async def _conservation(
    connection: Connection,
    entity_id: str,
    lines: Sequence[CostSum],
    within: Within,
) -> Conservation:
    pools = await margin.sum_pools(connection, entity_id=entity_id, **within)
    meters = await margin.sum_meter_windows(connection, **within)
    everyone = await cost.list_cost_entities(connection, entity_id=None)
    # A meter that no deployment ever named belongs to the entity where there is only one.
    mine = {entity_id, None} if len(everyone) == 1 else {entity_id}
    own = [each for each in meters if each.entity_id in mine]
    return Conservation(
        metered_mj=sum(each.metered_mj for each in own),
        estimated_mj=sum(each.estimated_mj for each in own),
        lines_mj=sum(line.device_metered_mj + line.device_estimated_mj for line in lines),
        pools=total([pool.amount for pool in pools]),
        lines_cost=total(
            [
                amount
                for line in lines
                for amount in (line.device_cost, line.overhead_cost, line.gpu_cost)
            ]
        ),
    )
