"""Allocates: readings, activity and slow facts become meter windows, cost pools and cost lines.

Per entity and chunk of windows one transaction; only what differs from what is stored is appended.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from datetime import datetime
from functools import partial

from ledger.domain.cost.cost_line import MeterKey, WindowCosts
from ledger.domain.cost.due import chunks
from ledger.domain.cost.factory import Factory, valid_at
from ledger.domain.parked import Part
from ledger.domain.period import WINDOW, window_of
from ledger.flows.cost.cost_windows import (
    KnownMeters,
    cost_touched,
    cost_windows,
    find_meters,
    own_gpus,
)
from ledger.flows.cost.find_due import find_due
from ledger.flows.cost.note_silence import note_silence
from ledger.flows.cost.recall import recall_lines
from ledger.flows.cost.sum_days import sum_changed_days
from ledger.flows.parts import Due
from ledger.flows.stage import Stage, StageContext
from ledger.store.cost import cost
from ledger.store.cost.cost_rows import append_changes, find_changes


async def _find(context: StageContext, again: Sequence[Part]) -> Due:
    moved = await find_due(context)
    due = sorted({*moved.windows, *(moment for _, moment in again)})
    known = KnownMeters(0, {}, alone=False)
    if due:
        known = await find_meters(context.connection, context.cut_off.batch_seq)
    tried = {moment for _, moment in again}
    touched = {at: engines for at, engines in moved.touched.items() if at not in tried}
    store = partial(_allocate_windows, context, known, touched)
    return Due([("", window) for window in due], store)


async def _allocate_windows(
    context: StageContext,
    known: KnownMeters,
    touched: Mapping[datetime, Set[int]],
    due: Sequence[Part],
) -> int:
    windows = [window for _, window in due]
    # What is revised takes the place of lines that may have been let go.
    entity_id = context.entity.entity_id
    await recall_lines(context.connection, entity_id, [window_of(window) for window in windows])
    late = [window for window in windows if window in touched]
    whole = [window for window in windows if window not in touched]
    rows = await _allocate_whole(context, known, whole) if whole else 0
    return rows + (await _allocate_late(context, known, touched, late) if late else 0)


async def _allocate_whole(
    context: StageContext, known: KnownMeters, windows: Sequence[datetime]
) -> int:
    connection, entity = context.connection, context.entity
    # Facts are read part by part, of one snapshot: a day may become a file meanwhile.
    async with connection.transaction(isolation="repeatable_read"):
        costs, factory = await cost_windows(connection, entity, windows, known)
        meters = _own_meters(factory, own_gpus(factory), windows)
        return await _append(context, windows, factory, costs, meters=meters, scopes=None)


async def _allocate_late(
    context: StageContext,
    known: KnownMeters,
    touched: Mapping[datetime, Set[int]],
    windows: Sequence[datetime],
) -> int:
    """What others' work costs stays as it is: their energy and hardware are their own."""
    connection, engines = context.connection, {key for at in windows for key in touched[at]}
    async with connection.transaction(isolation="repeatable_read"):
        costs, factory, scopes = await cost_touched(
            connection, context.entity, windows, known, engines
        )
        # Meters say what they did, but for what is estimated by the work that came.
        return await _append(
            context, windows, factory, costs, meters=[*costs.meters], scopes=scopes
        )


async def _append(
    context: StageContext,
    windows: Sequence[datetime],
    factory: Factory,
    costs: WindowCosts,
    *,
    meters: Collection[MeterKey],
    scopes: Sequence[str] | None,
) -> int:
    entity_id = context.entity.entity_id
    changes = await find_changes(
        context.connection,
        costs,
        entity_id=entity_id,
        windows=windows,
        meters=meters,
        scopes=scopes,
    )
    return await append_changes(
        context.connection,
        changes,
        await sum_changed_days(context, windows, own_gpus(factory), changes),
        entity_id=entity_id,
        cut_off=context.cut_off,
    )


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
    step=WINDOW,
    # Whatever lies between the first and the last window of a chunk is read.
    chunk_parts=96,
    list_entities=cost.list_cost_entities,
    find=_find,
    split=chunks,
    follows_clock=True,
    note=note_silence,
)
