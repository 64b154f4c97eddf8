"""Books cost: what windows cost becomes one journal entry per entity, local hour and currency.

An hour whose cost changed is booked again by its difference; equal costs book nothing.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from functools import partial

from ledger.domain.books.booking import CostTotals, cost_accrued
from ledger.domain.books.journal import JournalEntry
from ledger.domain.entity import LegalEntity
from ledger.domain.parked import Part
from ledger.domain.period import HOUR, hour_start, hour_windows
from ledger.flows.parts import Due
from ledger.flows.stage import Stage, StageContext
from ledger.store.books.journal import book_entries
from ledger.store.connect import draw_batch_seq
from ledger.store.cost import cost


async def _find(context: StageContext, again: Sequence[Part]) -> Due:
    changed = await cost.find_changed_costs(
        context.connection,
        entity_id=context.entity.entity_id,
        since_seq=context.last.batch_seq,
        batch_seq=context.cut_off.batch_seq,
    )
    touched = [window for window in changed if window < context.now]
    touched += [moment for _, moment in again]
    hours = sorted({hour_start(moment, context.entity.zone) for moment in touched})
    return Due([("", hour) for hour in hours], partial(_book_hours, context))


async def _book_hours(context: StageContext, due: Sequence[Part]) -> int:
    connection, entity = context.connection, context.entity
    async with connection.transaction():
        sums = await cost.sum_costs_to_book(
            connection,
            entity_id=entity.entity_id,
            windows=[at for _, hour in due for at in hour_windows(hour, entity.zone)],
            batch_seq=context.cut_off.batch_seq,
        )
        totals: dict[tuple[datetime, str], list[CostTotals]] = defaultdict(list)
        for window in sums:
            hour = hour_start(window.window_start, entity.zone)
            totals[hour, window.currency].append(window.totals)
        entries = [
            _entry(entity, hour, currency, lines) for (hour, currency), lines in totals.items()
        ]
        batch_seq = await draw_batch_seq(connection)
        return await book_entries(connection, entries, context.cut_off, batch_seq)


def _entry(
    entity: LegalEntity, hour: datetime, currency: str, lines: Sequence[CostTotals]
) -> JournalEntry:
    return JournalEntry(
        entity_id=entity.entity_id,
        kind="cost",
        natural_key=f"cost:{entity.entity_id}:{hour:%Y-%m-%dT%H:%MZ}:{currency}",
        booked_for=hour,
        description="Cost of the hour: electricity and hardware",
        postings=cost_accrued(lines, currency),
    )


# Cost of windows that have not begun waits: only what began before `now` is booked.
book_cost = Stage(
    name="book_cost",
    about="Book what windows cost into the journal.",
    step=HOUR,
    chunk_parts=168,
    list_entities=cost.list_cost_entities,
    find=_find,
)
