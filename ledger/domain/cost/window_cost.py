"""Turns one window of a factory into meter windows, cost pools and cost lines, scope by scope.

Invariant: every GPU of every asset is in one scope, deployed or not, and so is every metered GPU;
the hardware cost of an asset is split once, between its deployments and what nobody deployed.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from itertools import groupby

from ledger.domain.apportion import amount_of, apportion, apportion_amount, units_of
from ledger.domain.cost.allocation import WindowAllocation, allocate_window, together
from ledger.domain.cost.asset import LeaseTerms, OwnedTerms, asset_cost, schedule_of
from ledger.domain.cost.cause import IDLE, UNATTRIBUTED, USAGE
from ledger.domain.cost.cost_line import CostPool, LineRow, MeterWindow, WindowCosts
from ledger.domain.cost.deployment import Deployment
from ledger.domain.cost.depreciation import Schedule
from ledger.domain.cost.factory import AssetTerms, Factory, valid_at
from ledger.domain.cost.gpu_shares import find_gpu_shares
from ledger.domain.cost.kinds import KindSums
from ledger.domain.cost.served import Served, WindowFacts, frame_of, served_engines
from ledger.domain.cost.share import Share
from ledger.domain.cost.shared_use import GpuUser, use_of_gpu, used_together
from ledger.domain.cost.site_meters import SiteMeters
from ledger.domain.cost.slot_energy import EnergyInput, Site, UsedGpus
from ledger.domain.cost.slots import NOBODY, Ran, SlotWork, idle, weigh
from ledger.domain.cost.stepped import stepped_together
from ledger.domain.cost.weights import NO_WEIGHTS, Weights
from ledger.domain.energy.gpu_part import GPU_PARTS, WHOLE_GPU, GpuPart
from ledger.domain.energy.meter import energy_columns, findings
from ledger.domain.energy.part_energy import PartSpans
from ledger.domain.energy.span import BY_WEIGHTS
from ledger.domain.energy.tariff import TariffCut, TariffPoint, cut
from ledger.domain.metering.times import micros
from ledger.domain.money import ZERO
from ledger.domain.period import Period, window_of


@dataclass(frozen=True, slots=True)
class CostScope:
    """Whose costs of a window are told together, with the hardware and the weights they go by."""

    name: str
    window: Period
    asset: AssetTerms | None
    currency: str
    weights: Weights


@dataclass(frozen=True, slots=True)
class Serving:
    """What a deployment, or an engine of it on GPUs of its own, served in a window, the attempts
    with their instances, and what there is to be split over it; `used` where others used its GPUs
    too."""

    scope: CostScope
    deployment: Deployment
    energy: EnergyInput | None
    served: Served | None
    gpu_cost: Decimal
    used: UsedGpus | None = None

    def weigh(self, served: Served | None) -> SlotWork:
        """The work of attempts, slot by slot."""
        return _weighed(self.deployment, served, self.scope.window)

    def allocate(self, work: SlotWork) -> WindowAllocation:
        """All of it, split over this work."""
        return allocate_window(
            self.scope.window,
            energy=self.energy,
            work=work,
            gpu_cost=self.gpu_cost,
            used=self.used,
        )


def cost_window(
    factory: Factory,
    window_start: datetime,
    facts: WindowFacts,
    scopes: Collection[str] | None = None,
) -> WindowCosts:
    """Meters, pools and lines of the entity's deployments, idle hardware and unclaimed meters; or
    pools and lines of some deployments alone, by their scopes."""
    window = window_of(window_start)
    costs = WindowCosts()
    deployed = valid_at(factory.deployments, window.start)
    assets = {asset.asset_id: asset for asset in valid_at(factory.assets, window.start)}
    shares = _gpu_costs(factory, assets.values(), deployed, window)
    every = _serving_by_use(factory, window, facts, shares)
    for scope, of_scope in groupby(every, key=lambda serving: serving.scope):
        if scopes is not None and scope.name not in scopes:
            continue
        engines = list(of_scope)
        parts = [engine.allocate(engine.weigh(engine.served)) for engine in engines]
        named = [name for engine in engines for name in engine.deployment.engine_instances]
        stepped = KindSums(stepped=stepped_together(named, facts.stepped))
        allocated = together(parts)
        _book(costs, scope, replace(allocated, kinds=allocated.kinds + stepped))
        for engine in engines:
            _meter(costs, window, facts, engine.deployment.gpu_uuids, estimated=scopes is not None)
    if scopes is not None:
        return costs
    left = _left_of_gpus(factory, deployed)
    for asset in assets.values():
        if asset.entity_id == factory.entity.entity_id:
            scope = CostScope(asset.scope, window, asset, asset.currency, NO_WEIGHTS)
            rest = left.pop(asset.asset_id, {})
            _book_idle_hardware(costs, factory, scope, facts, rest, shares[asset.scope])
    ownerless = {gpu: part for rest in left.values() for gpu, part in rest.items()}
    free = _undeployed(factory, facts, deployed)
    for gpu, part in sorted((free | ownerless).items(), key=lambda each: each[0]):
        _book_unclaimed_gpu(costs, factory, window, facts, {gpu: part})
    for gpu in sorted(free):
        _meter(costs, window, facts, [gpu])
    return costs


def serving_in(factory: Factory, window_start: datetime, facts: WindowFacts) -> list[Serving]:
    """What the entity's deployments served in a window, and what that cost."""
    window = window_of(window_start)
    deployed = valid_at(factory.deployments, window.start)
    shares = _gpu_costs(factory, valid_at(factory.assets, window.start), deployed, window)
    return _serving_by_use(factory, window, facts, shares)


def _serving_by_use(
    factory: Factory, window: Period, facts: WindowFacts, shares: Mapping[str, Decimal]
) -> list[Serving]:
    """As `_serving`, with GPUs that several use by turns split by what ran on each."""
    every = list(_serving(factory, window, facts, shares))
    of_gpu: dict[str, list[int]] = defaultdict(list)
    for at, serving in enumerate(every):
        for gpu in serving.deployment.gpu_uuids if serving.deployment.splits_by_use else ():
            of_gpu[gpu].append(at)
    used: dict[int, list[UsedGpus]] = defaultdict(list)
    for gpu, numbers in of_gpu.items():
        servings = [every[at] for at in numbers]
        for at, own in zip(numbers, _use_of(factory, gpu, servings, facts), strict=True):
            used[at].append(own)
    for at, parts in used.items():
        own = used_together(parts)
        cost = amount_of(sum(own.busy_costs) + own.idle_cost)
        every[at] = replace(every[at], used=own, gpu_cost=cost)
    return every


def _use_of(
    factory: Factory, gpu: str, servings: Sequence[Serving], facts: WindowFacts
) -> list[UsedGpus]:
    """What each has of a GPU that all of them use."""
    scope = servings[0].scope
    users = [
        GpuUser(each.deployment, frame_of(each.served), each.weigh(each.served))
        for each in servings
    ]
    energy = _energy(factory, scope, facts, {gpu: WHOLE_GPU})
    at_rest = [user.deployment.idle_mw_per_gpu for user in users]
    known = [idle_mw for idle_mw in at_rest if idle_mw is not None]
    if energy is not None and known:
        energy = replace(energy, idle_mw=max(known))
    hardware = 0
    for serving in servings:
        gpus = serving.deployment.gpu_uuids
        each = apportion(units_of(serving.gpu_cost), [1] * len(gpus))
        hardware += each[gpus.index(gpu)]
    return use_of_gpu(scope.window, energy, hardware, users)


def _serving(
    factory: Factory, window: Period, facts: WindowFacts, shares: Mapping[str, Decimal]
) -> Iterator[Serving]:
    assets = {asset.asset_id: asset for asset in valid_at(factory.assets, window.start)}
    parts = find_gpu_shares(valid_at(factory.deployments, window.start))
    for own in served_engines(factory, window.start, facts):
        scope = _scope(factory, own.deployment, assets.get(own.deployment.asset_id), window)
        whole = shares.get(scope.name, ZERO)
        costs = apportion_amount(whole, [engine.gpu_count for engine in own.engines])
        for engine, served, gpu_cost in zip(own.engines, own.served, costs, strict=True):
            energy = _energy_of(factory, scope, facts, engine, parts.of(engine))
            yield Serving(scope, engine, energy, served, gpu_cost)


def terms_of(factory: Factory, asset: AssetTerms) -> Schedule | LeaseTerms:
    """The schedule its cost follows; ConflictError where its terms before leave none."""
    if asset.terms == "owned":
        owned = [terms for terms in factory.history_of(asset) if terms.terms == "owned"]
        return schedule_of([(terms.valid_from, _owned(terms)) for terms in owned])
    assert asset.gpu_hour_rate is not None
    return LeaseTerms(asset.gpu_hour_rate, asset.gpu_count, asset.valid_from)


def _owned(asset: AssetTerms) -> OwnedTerms:
    assert asset.purchase_price is not None
    assert asset.residual_value is not None
    assert asset.in_service is not None
    assert asset.life_months is not None
    return OwnedTerms(
        asset.purchase_price,
        asset.residual_value,
        asset.in_service,
        asset.life_months,
        asset.method,
        asset.rate_percent or ZERO,
    )


def _gpu_costs(
    factory: Factory,
    assets: Iterable[AssetTerms],
    deployed: Sequence[Deployment],
    window: Period,
) -> dict[str, Decimal]:
    """Hardware cost of the window by scope: deployments by parts of GPUs, the rest idle."""
    shares: dict[str, Decimal] = {}
    for asset in assets:
        users = sorted(
            (d for d in deployed if d.asset_id == asset.asset_id), key=lambda d: d.deployment_id
        )
        counts = [d.gpu_count * d.gpu_parts for d in users]
        parts = apportion_amount(
            asset_cost(terms_of(factory, asset), window),
            [*counts, max(asset.gpu_count * GPU_PARTS - sum(counts), 0)],
        )
        scopes = [*(d.scope for d in users), asset.scope]
        shares.update(zip(scopes, parts, strict=True))
    return shares


def _weighed(deployment: Deployment, served: Served | None, window: Period) -> SlotWork:
    """An instance is an engine of its own, whether or not anything ran on it."""
    if served is None:
        return idle()
    named = {*deployment.engine_instances, *served.numbers}
    return weigh(
        Ran.of(served.rows, [*served.numbers.values()], micros(window.start)),
        deployment.weights,
        engines=len(named),
        slot_s=deployment.slot_s,
        chunk=deployment.prefill_chunk,
    )


def _scope(
    factory: Factory, deployment: Deployment, asset: AssetTerms | None, window: Period
) -> CostScope:
    currency = asset.currency if asset else factory.entity.currency
    return CostScope(deployment.scope, window, asset, currency, deployment.weights)


def _energy_of(
    factory: Factory,
    scope: CostScope,
    facts: WindowFacts,
    deployment: Deployment,
    gpus: Mapping[str, GpuPart],
) -> EnergyInput | None:
    energy = _energy(factory, scope, facts, gpus)
    if energy is None or deployment.idle_mw_per_gpu is None:
        return energy
    read = sum(1 for spans in energy.gpu_spans if spans)
    idle_mw = deployment.idle_mw_per_gpu * read * deployment.gpu_parts // GPU_PARTS
    return replace(energy, idle_mw=idle_mw)


def _energy(
    factory: Factory, scope: CostScope, facts: WindowFacts, gpus: Mapping[str, GpuPart]
) -> EnergyInput | None:
    """That of parts of GPUs; None where none of them was read."""
    metered = [
        spans if part == WHOLE_GPU else PartSpans(spans, part)
        for gpu, part in gpus.items()
        if gpu in facts.gpus
        for spans in [facts.gpus[gpu].within(scope.window)]
    ]
    if not any(metered):
        return None
    site = _site_of(factory, scope.asset)
    uplifts = [u for u in valid_at(factory.uplifts, scope.window.start) if u.facility_id == site]
    beside = SiteMeters.of(factory.meters, scope.window, site, facts.gpus)
    # The counter of a module has its host's energy already.
    alone = {gpu: part for gpu, part in gpus.items() if gpu not in facts.modules}
    hosts = beside.hosts_of(alone)
    if not uplifts:
        return EnergyInput(metered, list(_cuts(factory, scope, site)), Site(hosts=hosts))
    declared = (part for gpu, part in alone.items() if gpu not in beside.hosted)
    host_mw = sum(part.of(uplifts[0].host_mw_per_gpu) for part in declared)
    around = Site(host_mw, beside.measured_pue() or uplifts[0].pue, hosts)
    return EnergyInput(metered, list(_cuts(factory, scope, site)), around)


def _site_of(factory: Factory, asset: AssetTerms | None) -> str | None:
    if asset is not None:
        return asset.facility_id
    sites = {a.facility_id for a in factory.assets if a.entity_id == factory.entity.entity_id}
    return sites.pop() if len(sites) == 1 else None


def _cuts(factory: Factory, scope: CostScope, site: str | None) -> Iterator[TariffCut]:
    if scope.asset is not None and scope.asset.all_in:
        # The lease pays for power: energy is told, and costs nothing beside the lease.
        yield TariffCut(scope.window, ZERO)
        return
    points = [
        TariffPoint(Period(price.valid_from, price.valid_to), price.price_per_mwh)
        for price in factory.prices
        if price.facility_id == site
        and price.currency == scope.currency
        and price.valid_from < scope.window.end
        and price.valid_to > scope.window.start
    ]
    yield from cut(scope.window, points)


def _book(costs: WindowCosts, scope: CostScope, allocated: WindowAllocation) -> None:
    start = scope.window.start
    all_in = scope.asset is not None and scope.asset.all_in
    terms = _terms(scope, allocated.busy_s)
    if allocated.taken.keys.size:
        costs.taken.append(((scope.name, start, *terms.values()), allocated.taken))
        costs.kinds.append((scope.name, start, USAGE, *allocated.kinds.row()))
    if any(allocated.idle.parts()):
        costs.rows.append(_row(scope, allocated.idle, terms))
    if allocated.electricity_pool or not (all_in or allocated.unpriced_mj):
        amount = allocated.electricity_pool
        costs.pools[scope.name, start, "electricity"] = CostPool(scope.currency, amount)
    if scope.asset is not None and allocated.gpu_pool:
        costs.pools[scope.name, start, "gpu"] = CostPool(scope.currency, allocated.gpu_pool)


def _terms(scope: CostScope, busy_s: int) -> Mapping[str, str | int]:
    return {
        "currency": scope.currency,
        "weight_version": scope.weights.version,
        "weight_uncached": scope.weights.uncached,
        "weight_cache_read": scope.weights.cache_read,
        "weight_cache_write": scope.weights.cache_write,
        "weight_output": scope.weights.output,
        "gpu_terms": scope.asset.terms if scope.asset else "none",
        "busy_s": busy_s,
    }


def _row(
    scope: CostScope, share: Share, terms: Mapping[str, str | int], *, line: str = IDLE
) -> LineRow:
    return (scope.name, scope.window.start, line, NOBODY, *terms.values(), *share.parts())


def _meter(
    costs: WindowCosts,
    window: Period,
    facts: WindowFacts,
    gpu_uuids: Iterable[str],
    *,
    estimated: bool = False,
) -> None:
    """What meters say of GPUs; `estimated`: of those alone of which anything is by weights."""
    edges = [micros(window.start), micros(window.end)]
    for gpu in gpu_uuids:
        spans = facts.gpus[gpu].within(window) if gpu in facts.gpus else ()
        noticed = findings(spans)
        if not spans or (estimated and BY_WEIGHTS not in noticed):
            continue
        (metered_mj,), (estimated_mj,), (covered_us,) = energy_columns(spans, edges)
        costs.meters[gpu, window.start] = MeterWindow(
            metered_mj, estimated_mj, covered_us // 1_000_000, tuple(noticed)
        )


def _left_of_gpus(
    factory: Factory, deployed: Sequence[Deployment]
) -> dict[str, dict[str, GpuPart]]:
    """What no deployment has of the entity's shared GPUs, by asset."""
    own = [d for d in deployed if d.entity_id == factory.entity.entity_id]
    left = find_gpu_shares(own).left
    by_asset: dict[str, dict[str, GpuPart]] = defaultdict(dict)
    for deployment in own:
        rest = {gpu: left[gpu] for gpu in deployment.gpu_uuids if gpu in left}
        by_asset[deployment.asset_id] |= rest
    return by_asset


def _book_idle_hardware(
    costs: WindowCosts,
    factory: Factory,
    scope: CostScope,
    facts: WindowFacts,
    left: Mapping[str, GpuPart],
    gpu_cost: Decimal,
) -> None:
    """GPUs, and parts of GPUs, that nobody deployed: these draw with the rest of theirs."""
    energy = _energy(factory, scope, facts, left)
    if energy is not None:
        window = scope.window
        _book(costs, scope, allocate_window(window, energy=energy, work=idle(), gpu_cost=gpu_cost))
    elif gpu_cost:
        costs.rows.append(_row(scope, Share(gpu_cost=units_of(gpu_cost)), _terms(scope, 0)))
        costs.pools[scope.name, scope.window.start, "gpu"] = CostPool(scope.currency, gpu_cost)


def _undeployed(
    factory: Factory, facts: WindowFacts, deployed: Sequence[Deployment]
) -> dict[str, GpuPart]:
    """The entity's GPUs that are read, and that nobody deploys now."""
    taken = {gpu for deployment in deployed for gpu in deployment.gpu_uuids}
    homes = ((gpu, factory.homes.get(gpu)) for gpu in facts.gpus.keys() - taken)
    mine = factory.entity.entity_id
    return {gpu: WHOLE_GPU for gpu, home in homes if home is not None and home.entity_id == mine}


def _book_unclaimed_gpu(
    costs: WindowCosts,
    factory: Factory,
    window: Period,
    facts: WindowFacts,
    gpu_part: Mapping[str, GpuPart],
) -> None:
    """A meter, or a part of one, that is nobody's: its energy is unattributed."""
    ((gpu, _),) = gpu_part.items()
    home = factory.homes.get(gpu)
    assets = {asset.asset_id: asset for asset in valid_at(factory.assets, window.start)}
    asset = assets.get((home.asset_id or "") if home else "")
    currency = asset.currency if asset else factory.entity.currency
    scope = CostScope(f"gpu:{gpu}", window, asset, currency, NO_WEIGHTS)
    energy = _energy(factory, scope, facts, gpu_part)
    if energy is None:
        return
    # Nobody knows what ran there: it is unattributed, not idle.
    allocated = allocate_window(window, energy=energy, work=idle(), gpu_cost=ZERO)
    if any(allocated.idle.parts()):
        costs.rows.append(_row(scope, allocated.idle, _terms(scope, 0), line=UNATTRIBUTED))
    _book(costs, scope, replace(allocated, idle=Share()))
