"""Works out what windows of an entity cost, from the facts and inputs known at a cut-off."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

from ledger.domain.cost.cost_line import WindowCosts
from ledger.domain.cost.deployment import ServingDeployments
from ledger.domain.cost.factory import Factory, GpuHome, valid_at
from ledger.domain.cost.served import WindowFacts
from ledger.domain.cost.window_cost import cost_window
from ledger.domain.entity import LegalEntity
from ledger.domain.period import WINDOW
from ledger.flows.cost.fill_unread import fill_unread
from ledger.flows.cost.read_facts import read_facts
from ledger.store.cost import cost
from ledger.store.cost.factory import load_factory
from ledger.store.energy import meter
from ledger.store.queries import Connection

Metered: TypeAlias = Mapping[str, tuple[datetime, datetime]]


@dataclass(frozen=True, slots=True)
class KnownMeters:
    """Up to which batch is read, when each meter was read up to there, and whether there is one
    entity alone."""

    batch_seq: int
    metered: Metered
    alone: bool


async def find_meters(connection: Connection, batch_seq: int) -> KnownMeters:
    """What is known of meters at a cut-off."""
    metered = await meter.find_metered_periods(connection, batch_seq=batch_seq)
    everyone = await cost.list_cost_entities(connection, entity_id=None)
    return KnownMeters(batch_seq, metered, alone=len(everyone) == 1)


async def cost_windows(
    connection: Connection, entity: LegalEntity, windows: Sequence[datetime], known: KnownMeters
) -> tuple[WindowCosts, Factory]:
    """What some windows cost, in order, and the factory that they are of; in one snapshot."""
    factory, read = await _load_factory(connection, entity, windows, known)
    gpus = ({*own_gpus(factory)} | factory.beside) & read
    read_of = await read_facts(connection, windows, factory, sorted(gpus), known.batch_seq)
    facts = await fill_unread(connection, factory, read_of, known.batch_seq)
    return _cost(windows, factory, facts), factory


async def cost_touched(
    connection: Connection,
    entity: LegalEntity,
    windows: Sequence[datetime],
    known: KnownMeters,
    engines: Collection[int],
) -> tuple[WindowCosts, Factory, list[str]]:
    """What the deployments that serve some engine keys cost in windows, in order, the factory that
    they are of, and their scopes; in one snapshot. They cost what they would among all."""
    factory, read = await _load_factory(connection, entity, windows, known)
    keys = await cost.find_engine_keys(connection, engine_key_ids=engines)
    moments = [ServingDeployments(valid_at(factory.deployments, window)) for window in windows]
    # Of nobody's customer in particular: whoever may have served it.
    touched = {
        deployment.deployment_id
        for serving in moments
        for key in keys.values()
        for deployment in serving.of(key, None)
    }
    touched |= _beside_on_gpus(factory, touched)
    own = [
        d
        for d in factory.deployments
        if d.deployment_id in touched and d.entity_id == entity.entity_id
    ]
    gpus = ({gpu for d in own for gpu in d.gpu_uuids} | factory.beside) & read
    scopes = sorted({d.scope for d in own})
    # What they have of a GPU goes by what ran on it of others as well.
    beside = touched | _beside_on_gpus(factory, touched)
    near = [
        key.engine_key_id
        for key in await cost.list_engine_keys(connection)
        if any(d.deployment_id in beside for serving in moments for d in serving.of(key, None))
    ]
    seq = known.batch_seq
    read_of = await read_facts(connection, windows, factory, sorted(gpus), seq, near)
    facts = await fill_unread(connection, factory, read_of, seq, touched)
    return _cost(windows, factory, facts, scopes), factory, scopes


def _beside_on_gpus(factory: Factory, touched: Collection[str]) -> set[str]:
    """Who uses a GPU by turns with any of these deployments, or has a part of one that is estimated
    by what runs there: what ran there moves its part too."""
    estimates = {each.fitted.deployment_id for each in factory.fitted if each.estimates}
    used = {
        gpu
        for d in factory.deployments
        if d.deployment_id in touched
        and (d.splits_by_use or (d.shares_gpus and d.deployment_id in estimates))
        for gpu in d.gpu_uuids
    }
    return {d.deployment_id for d in factory.deployments if used & {*d.gpu_uuids}}


async def _load_factory(
    connection: Connection, entity: LegalEntity, windows: Sequence[datetime], known: KnownMeters
) -> tuple[Factory, set[str]]:
    """The factory as it was in windows, and the meters that were read then."""
    since, until, seq = windows[0], windows[-1] + WINDOW, known.batch_seq
    factory = await load_factory(connection, entity, since=since, until=until, batch_seq=seq)
    read = meter.metered_between(known.metered, since=since, until=until)
    return _housed(factory, read, alone=known.alone), {*read}


def _cost(
    windows: Sequence[datetime],
    factory: Factory,
    facts: Mapping[datetime, WindowFacts],
    scopes: Collection[str] | None = None,
) -> WindowCosts:
    costs = WindowCosts()
    for window in windows:
        costs.add(cost_window(factory, window, facts[window], scopes))
    return costs


def _housed(factory: Factory, metered: Iterable[str], *, alone: bool) -> Factory:
    """Meters that no deployment ever named belong to the entity where there is only one."""
    if alone:
        mine = factory.entity.entity_id
        gpus = {*metered} - factory.beside
        homes = {gpu: GpuHome(gpu, mine, None) for gpu in gpus} | dict(factory.homes)
        return replace(factory, homes=homes)
    return factory


def own_gpus(factory: Factory) -> list[str]:
    """GPUs the entity deploys, and those that are its own otherwise."""
    mine = factory.entity.entity_id
    deployed = {gpu for d in factory.deployments if d.entity_id == mine for gpu in d.gpu_uuids}
    home = {gpu for gpu, home in factory.homes.items() if home.entity_id == mine}
    return sorted(deployed | home)
