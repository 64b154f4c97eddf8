"""What the books cover: energy of deployed GPUs, usage served by a deployment, engines' own counts.

An outage must not look like zero usage, nor an unread meter like zero energy.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Unpack

from ledger.domain.cost.deployment import ServingDeployments
from ledger.domain.cost.factory import Factory, valid_at
from ledger.domain.cost.gap import Gap, clip
from ledger.domain.energy.finding import MeterFinding, MeterGap
from ledger.domain.metering.reconcile import Reconciliation
from ledger.reports.cost.gaps import list_unserved
from ledger.reports.cost.margin import find_entity
from ledger.reports.findings import list_findings, list_meter_gaps
from ledger.reports.metering.engines import count_hours, own_engines
from ledger.reports.report import ScopedReport
from ledger.store.connect import CutOff
from ledger.store.cost import cost, margin
from ledger.store.cost.factory import load_factory
from ledger.store.energy import meter
from ledger.store.queries import Connection
from ledger.store.within import Within


@dataclass(frozen=True, slots=True)
class EnergyCoverage:
    """GPU-seconds a deployment ran in the period, and for how many of them readings exist."""

    deployment_id: str
    deployed_gpu_s: int
    covered_gpu_s: int
    asked: bool


@dataclass(frozen=True, slots=True)
class UsageCoverage:
    """Tokens of the entity's customers, those a deployment served, and the usage nobody served."""

    tokens: int
    served_tokens: int
    unclaimed: tuple[Gap, ...]


@dataclass(frozen=True, slots=True)
class CoverageReport(ScopedReport):
    """Coverage of an entity over [since, until) as known at a cut-off.

    `stray_gpus` are meters that belong to no entity; their energy is in nobody's books.
    """

    energy: tuple[EnergyCoverage, ...]
    usage: UsageCoverage
    engines: tuple[Reconciliation, ...]
    stray_gpus: tuple[str, ...]
    findings: tuple[MeterFinding, ...]
    meter_gaps: tuple[MeterGap, ...] = ()


async def coverage_report(
    connection: Connection,
    *,
    entity_id: str,
    since: datetime,
    until: datetime,
    cut_off: CutOff,
    alone: bool = False,
) -> CoverageReport:
    """What is covered and what is not; MissingInputError for an entity without hardware.

    `alone` leaves out what is not known to be this entity's: usage of unknown customers, meters of
    nobody, and engines that no deployment of it names, or one of another entity does.
    """
    entity = await find_entity(connection, entity_id)
    within: Within = {"since": since, "until": until, "batch_seq": cut_off.batch_seq}
    factory = await load_factory(connection, entity, **within)
    meters = await margin.sum_meter_windows(connection, **within)
    activity = await margin.find_engine_activity(connection, **within)
    whose = {entity_id} if alone else {entity_id, None}
    unserved = await list_unserved(connection, factory, of_entities=whose, **within)
    hours = await count_hours(connection, activity, **within)
    own = own_engines(factory)
    return CoverageReport(
        entity_id=entity_id,
        since=since,
        until=until,
        cut_off=cut_off,
        energy=tuple(_energy(factory, meters, since, until)),
        usage=_usage(factory, [work for work in activity if work.entity_id in whose], unserved),
        engines=tuple(row for row in hours.reconcile() if not alone or row.engine_instance in own),
        stray_gpus=() if alone else await _stray(connection, factory, **within),
        findings=await list_findings(connection, factory, **within),
        meter_gaps=await list_meter_gaps(connection, factory, alone=alone, **within),
    )


def _energy(
    factory: Factory, meters: Iterable[margin.MeterSum], since: datetime, until: datetime
) -> Iterable[EnergyCoverage]:
    covered: dict[str, int] = defaultdict(int)
    for meter_sum in meters:
        for name in meter_sum.deployment_ids:
            covered[name] += meter_sum.covered_s
    deployed: dict[str, int] = defaultdict(int)
    asked: dict[str, bool] = defaultdict(bool)
    for deployment in factory.deployments:
        if deployment.entity_id != factory.entity.entity_id:
            continue
        start, end = clip(deployment, (since, until))
        name = deployment.deployment_id
        deployed[name] += max((end - start) // timedelta(seconds=1), 0) * deployment.gpu_count
        terms = [a for a in factory.assets if a.asset_id == deployment.asset_id]
        asked[name] |= not all(asset.all_in for asset in terms)
    for name in sorted(deployed):
        yield EnergyCoverage(name, deployed[name], covered[name], asked[name])


def _usage(
    factory: Factory, activity: Iterable[margin.EngineWork], unclaimed: Sequence[Gap]
) -> UsageCoverage:
    tokens = claimed = 0
    serving: dict[datetime, ServingDeployments] = {}
    for work in activity:
        window = work.window_start
        if window not in serving:
            serving[window] = ServingDeployments(valid_at(factory.deployments, window))
        worked_on = work.input + work.output
        tokens += worked_on
        claimed += worked_on if serving[window].of(work.key, work.entity_id) else 0
    return UsageCoverage(tokens, claimed, tuple(unclaimed))


async def _stray(
    connection: Connection, factory: Factory, **within: Unpack[Within]
) -> tuple[str, ...]:
    everyone = await cost.list_cost_entities(connection, entity_id=None)
    if len(everyone) == 1:
        return ()
    metered = await meter.find_metered_gpus(connection, **within)
    known = factory.homes.keys() | factory.beside
    return tuple(gpu for gpu in metered if gpu not in known)
