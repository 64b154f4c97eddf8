"""Allocates: readings, activity and slow facts become meter windows, cost pools and cost lines.

Per entity and chunk of windows one transaction; only what differs from what is stored is appended.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial

from ledger.domain.cost.cost_line import MeterKey
from ledger.domain.cost.due import chunks
from ledger.domain.cost.factory import Factory, valid_at
from ledger.domain.parked import Part
from ledger.domain.period import WINDOW, window_of
from ledger.flows.cost.cost_windows import KnownMeters, cost_windows, find_meters, own_gpus
from ledger.flows.cost.find_due import find_due
from ledger.flows.cost.recall import recall_lines
from ledger.flows.cost.sum_days import sum_changed_days
from ledger.flows.parts import Due
from ledger.flows.stage import Stage, StageContext
from ledger.store.cost import cost
from ledger.store.cost.cost_rows import append_changes, find_changes


async def _find(context: StageContext, again: Sequence[Part]) -> Due:
    due = sorted({*await find_due(context), *(moment for _, moment in again)})
    if not due:
        return Due((), partial(_allocate_windows, context, KnownMeters(0, {}, alone=False)))
    known = await find_meters(context.connection, context.cut_off.batch_seq)
    return Due([("", window) for window in due], partial(_allocate_windows, context, known))


async def _allocate_windows(context: StageContext, known: KnownMeters, due: Sequence[Part]) -> int:
    connection, entity, windows = context.connection, context.entity, [window for _, window in due]
    # What is revised takes the place of lines that may have been let go.
    await recall_lines(connection, entity.entity_id, [window_of(window) for window in windows])
    # Facts are read part by part, of one snapshot: a day may become a file meanwhile.
    async with connection.transaction(isolation="repeatable_read"):
        costs, factory = await cost_windows(connection, entity, windows, known)
        gpus = own_gpus(factory)
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
