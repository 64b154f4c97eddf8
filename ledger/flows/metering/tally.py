"""Tallies usage by key and local day, so that no report of months needs all of its windows.

What is known at a cut-off is the tallies up to it, and windows of the few batches behind the last.
"""

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from ledger.domain.parked import Part
from ledger.domain.period import WINDOW, window_start
from ledger.flows.parts import Due
from ledger.flows.stage import Stage, StageContext
from ledger.store.metering.tally import LastTally, add_tally, find_last_tally
from ledger.store.pricing.rating import list_entities

# A key has a row a day for each tally of it, and reports read windows of so much time at most.
EVERY = timedelta(hours=6)


async def _find(context: StageContext, _: Sequence[Part]) -> Due:
    last = await find_last_tally(context.connection, entity_id=context.entity.entity_id)
    fresh = last is None or last.until_seq < context.cut_off.batch_seq
    waits = last is not None and context.now - last.tallied_at < EVERY
    # All of it is one part, as it goes by no window.
    due = [("", window_start(context.now))] if fresh and not waits else []
    return Due(due, partial(_tally, context, last))


async def _tally(context: StageContext, last: LastTally | None, _: Sequence[Part]) -> int:
    async with context.connection.transaction():
        return await add_tally(
            context.connection,
            context.entity,
            since_seq=last.until_seq if last else 0,
            batch_seq=context.cut_off.batch_seq,
            now=context.now,
        )


tally = Stage(
    name="tally",
    step=WINDOW,
    chunk_parts=1,
    list_entities=list_entities,
    find=_find,
    follows_clock=True,
)
