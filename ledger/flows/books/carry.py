"""Carries balances forward: what each full stretch of the journal comes to is added up once.

A balance at any moment and cut-off is read from these and the few entries behind them.
"""

from collections.abc import Sequence
from functools import partial

from ledger.domain.books.carried import JournalStretch, carried_forward, cut
from ledger.domain.parked import Part
from ledger.domain.period import WINDOW, window_start
from ledger.flows.parts import Due
from ledger.flows.stage import Stage, StageContext
from ledger.store.books import balances

# Entries that are read one by one beside what is carried: a few milliseconds.
STRETCH_ENTRIES = 500
# Of a journal that was never carried, as many stretches at a time.
CHUNK_STRETCHES = 512


async def _find(context: StageContext, _: Sequence[Part], *, least: int) -> Due:
    entity_id, batch_seq = context.entity.entity_id, context.cut_off.batch_seq
    chain = await balances.find_chain(context.connection, entity_id=entity_id, batch_seq=batch_seq)
    since_seq = chain[-1].until_seq if chain else 0
    batches = await balances.count_entries(
        context.connection, entity_id=entity_id, since_seq=since_seq, batch_seq=batch_seq
    )
    fresh = cut(since_seq, batches, least)
    # All of it is one part, as it goes by no window.
    due = [("", window_start(context.now))] if fresh else []
    return Due(due, partial(_carry, context, carried_forward(chain, fresh)))


async def _carry(
    context: StageContext, stretches: Sequence[JournalStretch], _: Sequence[Part]
) -> int:
    rows = 0
    async with context.connection.transaction():
        for first in range(0, len(stretches), CHUNK_STRETCHES):
            some = stretches[first : first + CHUNK_STRETCHES]
            rows += await balances.carry(context.connection, context.entity.entity_id, some)
    return rows


def carrying(least: int) -> Stage:
    """The stage, with at least so many entries to a stretch."""
    return Stage(
        name="carry",
        step=WINDOW,
        chunk_parts=1,
        list_entities=balances.list_journal_entities,
        find=partial(_find, least=least),
    )


carry = carrying(STRETCH_ENTRIES)
