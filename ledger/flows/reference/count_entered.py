"""Counts for good what was used before budgets were entered, behind their commit.

A batch that was on its way meanwhile may have seen no budget, and not have been seen by who entered
it. Those behind a number that was drawn later all count for themselves. So what is stored up to a
cut-off there is counted once all of it has ended, and nobody waits for that.
"""

import asyncio
import time

from ledger.store.billing.budgets import (
    EnteredBudget,
    count_entered_budget,
    is_any_open,
    list_earlier_use,
    list_entered_budgets,
)
from ledger.store.connect import CutOff, draw_cut_off
from ledger.store.queries import Connection

# How long who enters a budget waits for batches on their way; then the background counts them.
PATIENCE_S = 2.0
ASK_EVERY_S = 0.02


async def count_entered(connection: Connection, *, patience_s: float = PATIENCE_S) -> int:
    """Count earlier use of budgets that were entered; returns of how many.

    Inside a transaction it does nothing, and what waits for an open batch too long is left to who
    comes next.
    """
    if connection.is_in_transaction():
        return 0
    entered = await list_entered_budgets(connection)
    if not entered:
        return 0
    behind = max(budget.seen_behind for budget in entered)
    cut_off = await _cut_off_behind(connection, behind, until=time.monotonic() + patience_s)
    if cut_off is None:
        return 0
    return sum([await _count(connection, budget, cut_off) for budget in entered])


async def _cut_off_behind(connection: Connection, batch_seq: int, *, until: float) -> CutOff | None:
    """A cut-off that sees every batch up to a number, once they have ended."""
    while True:
        if not await is_any_open(connection, batch_seq):
            # What is not summed keeps it lower, as does who draws a number at this very moment.
            cut_off = await draw_cut_off(connection, "budget")
            if cut_off.batch_seq >= batch_seq:
                return cut_off
        if time.monotonic() > until:
            return None
        await asyncio.sleep(ASK_EVERY_S)


async def _count(connection: Connection, budget: EnteredBudget, cut_off: CutOff) -> bool:
    """Sums are read before any lock is held."""
    seen = cut_off.batch_seq
    uses = await list_earlier_use(connection, budget.budget_id, batch_seq=seen)
    return await count_entered_budget(connection, budget, uses, batch_seq=seen)
