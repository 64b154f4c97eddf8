"""Allocates: readings, activity and slow facts become meter windows, cost pools and cost lines.

Per entity and chunk of windows one transaction; only what differs from what is stored is appended.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TypeAlias

from ledger.domain.cost.cost_line import MeterKey, WindowCosts
from ledger.domain.cost.due import chunks
from ledger.domain.cost.factory import Factory, GpuHome, valid_at
from ledger.domain.cost.window_cost import cost_window
from ledger.domain.parked import Part
from ledger.domain.period import WINDOW
from ledger.flows.cost.find_due import find_due
from ledger.flows.cost.read_facts import read_facts
from ledger.flows.cost.sum_days import sum_changed_days
from ledger.flows.parts import Due
from ledger.flows.stage import Stage, StageContext
from ledger.store.cost import cost
from ledger.store.cost.cost_rows import append_changes, find_changes
from ledger.store.cost.factory import load_factory
from ledger.store.energy import meter

Metered: TypeAlias = Mapping[str, tuple[datetime, datetime]]


async def _find(context: StageContext, again: Sequence[Part]) -> Due:
    due = sorted({*await find_due(context), *(moment for _, moment in again)})
    metered = await _metered_periods(context) if due else {}
    everyone = await cost.list_cost_entities(context.connection, entity_id=None)
    store = partial(_allocate_windows, context, metered, alone=len(everyone) == 1)
    return Due([("", window) for window in due], store)


async def _metered_periods(context: StageContext) -> Metered:
    return await meter.find_metered_periods(context.connection, batch_seq=context.cut_off.batch_seq)


async def _allocate_windows(
    context: StageContext, metered: Metered, due: Sequence[Part], *, alone: bool
) -> int:
    connection, entity, windows = context.connection, context.entity, [window for _, window in due]
    # Facts are read part by part, of one snapshot: a day may become a file meanwhile.
    async with connection.transaction(isolation="repeatable_read"):
        since, until, seq = windows[0], windows[-1] + WINDOW, context.cut_off.batch_seq
        factory = await load_factory(connection, entity, since=since, until=until, batch_seq=seq)
        read = meter.metered_between(metered, since=since, until=until)
        factory = _housed(factory, read, alone=alone)
        gpus = _own_gpus(factory)
        asked = {*gpus} | factory.beside
        facts = await read_facts(connection, windows, factory, sorted(asked & {*read}), seq)
        costs = WindowCosts()
        for window in windows:
            costs.add(cost_window(factory, window, facts[window]))
        changes = await find_changes(
            connection,
            costs,
            entity_id=entity.entity_id,
            windows=windows,
            meters=_own_meters(factory, gpus, windows),
        )
        return await append_changes(
            connection,
            changes,
            await sum_changed_days(context, windows, gpus, changes),
            entity_id=entity.entity_id,
            cut_off=context.cut_off,
        )


def _housed(factory: Factory, metered: Iterable[str], *, alone: bool) -> Factory:
    """Meters that no deployment ever named belong to the entity where there is only one."""
    if alone:
        mine = factory.entity.entity_id
        gpus = {*metered} - factory.beside
        homes = {gpu: GpuHome(gpu, mine, None) for gpu in gpus} | dict(factory.homes)
        return replace(factory, homes=homes)
    return factory


def _own_gpus(factory: Factory) -> list[str]:
    """GPUs the entity deploys, and those that are its own otherwise."""
    mine = factory.entity.entity_id
    deployed = {gpu for d in factory.deployments if d.entity_id == mine for gpu in d.gpu_uuids}
    home = {gpu for gpu, home in factory.homes.items() if home.entity_id == mine}
    return sorted(deployed | home)


def _own_meters(
    factory: Factory, gpus: Iterable[str], windows: Iterable[datetime]
) -> set[MeterKey]:
    """What the entity tells of its GPUs: not of a time in which another one deploys them."""
    mine, own, told = factory.entity.entity_id, {*gpus}, set[MeterKey]()
    for window in windows:
        deployed = valid_at(factory.deployments, window)
        others = {gpu for d in deployed if d.entity_id != mine for gpu in d.gpu_uuids}
        told.update((gpu, window) for gpu in own - others)
    return told


allocate = Stage(
    name="allocate",
    about="Allocate energy and cost to what was served, idle, unattributed and unclaimed.",
    step=WINDOW,
    # Whatever lies between the first and the last window of a chunk is read.
    chunk_parts=96,
    list_entities=cost.list_cost_entities,
    find=_find,
    split=chunks,
    follows_clock=True,
)
