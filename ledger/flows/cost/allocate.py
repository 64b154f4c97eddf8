"""Allocates: readings, activity and slow facts become meter windows, cost pools and cost lines.

Per entity and chunk of windows one transaction; only what differs from what is stored is appended.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeAlias

from ledger.domain.cost.cost_line import WindowCosts
from ledger.domain.cost.due import chunks
from ledger.domain.cost.factory import Factory, GpuHome
from ledger.domain.cost.window_cost import WindowFacts, cost_window
from ledger.domain.energy.calibration import Calibration
from ledger.domain.energy.counter_course import AROUND, NEAR, EnergyReading, runs_on
from ledger.domain.energy.even_course import even_boards
from ledger.domain.energy.gpu_spans import BoardSpans, even_spans, spans_by_window
from ledger.domain.parked import Part
from ledger.domain.period import WINDOW
from ledger.flows.cost.find_due import find_due
from ledger.flows.parts import Due
from ledger.flows.stage import Stage, StageContext
from ledger.store.cost import cost
from ledger.store.cost.cost_rows import append_changes, find_changes
from ledger.store.cost.factory import load_factory
from ledger.store.cost.work import read_work
from ledger.store.energy import meter
from ledger.store.queries import Connection
from ledger.store.within import Within

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
        facts = await _read_facts(connection, windows, factory, sorted(asked & {*read}), seq)
        costs = WindowCosts()
        for window in windows:
            costs.add(cost_window(factory, window, facts[window]))
        changes = await find_changes(
            connection, costs, entity_id=entity.entity_id, windows=windows, gpu_uuids=gpus
        )
        return await append_changes(
            connection, changes, entity_id=entity.entity_id, cut_off=context.cut_off
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


async def _read_facts(
    connection: Connection,
    windows: Sequence[datetime],
    factory: Factory,
    gpus: Sequence[str],
    batch_seq: int,
) -> dict[datetime, WindowFacts]:
    work = await read_work(connection, windows, batch_seq)
    metered = await _read_spans(connection, windows, factory, gpus, batch_seq)
    return {
        window: WindowFacts(work.attempts_in(window), work.keys, metered[window])
        for window in windows
    }


async def _read_spans(
    connection: Connection,
    windows: Sequence[datetime],
    factory: Factory,
    gpus: Sequence[str],
    batch_seq: int,
) -> dict[datetime, dict[str, BoardSpans]]:
    columns = await meter.read_columns_of(
        connection, gpu_uuids=gpus, **_reaching(windows, NEAR, batch_seq)
    )
    even = {gpus[board - 1]: board_spans for board, board_spans in even_boards(columns).items()}
    uneven = [gpu for gpu in gpus if gpu not in even]
    near = await _readings(connection, windows, uneven, NEAR, batch_seq)
    odd = [gpu for gpu, of_gpu in near.items() if not runs_on(of_gpu)]
    around = await _readings(connection, windows, odd, AROUND, batch_seq)
    true: dict[str, list[Calibration]] = defaultdict(list)
    for each in factory.meters:
        true[each.meter].append(each.calibration)
    simple = {gpu: even_spans(board_spans, true[gpu]) for gpu, board_spans in even.items()}
    spans: dict[datetime, dict[str, BoardSpans]] = {window: {**simple} for window in windows}
    for gpu, of_gpu in near.items():
        by_window = spans_by_window(of_gpu, around.get(gpu), windows, true[gpu])
        for window, gpu_spans in by_window.items():
            spans[window][gpu] = gpu_spans
    return spans


async def _readings(
    connection: Connection,
    windows: Sequence[datetime],
    gpus: Sequence[str],
    reach: timedelta,
    batch_seq: int,
) -> dict[str, list[EnergyReading]]:
    if not gpus:
        return {}
    return await meter.find_energy_readings(
        connection, gpu_uuids=gpus, **_reaching(windows, reach, batch_seq)
    )


def _reaching(windows: Sequence[datetime], reach: timedelta, batch_seq: int) -> Within:
    return {
        "since": windows[0] - reach,
        "until": windows[-1] + WINDOW + reach,
        "batch_seq": batch_seq,
    }


allocate = Stage(
    name="allocate",
    about="Allocate energy and cost to what was served, idle and unattributed.",
    step=WINDOW,
    # Whatever lies between the first and the last window of a chunk is read.
    chunk_parts=96,
    list_entities=cost.list_cost_entities,
    find=_find,
    split=chunks,
    follows_clock=True,
)
