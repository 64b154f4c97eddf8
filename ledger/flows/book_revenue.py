"""Books revenue: charges become one entry per subscription, local hour and currency.

Revenue is booked when tokens were used, not when they are invoiced; an hour whose charges changed
is booked again by its difference.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from ledger.domain.booking import usage_accrued
from ledger.domain.journal import JournalEntry
from ledger.domain.money import EXACT, ZERO
from ledger.domain.period import Period, hour_start, windows
from ledger.flows.stage import StageReport
from ledger.store import cost, rating
from ledger.store.connect import CutOff, draw_batch_seq, draw_cut_off
from ledger.store.journal import book_entries
from ledger.store.queries import Connection
from ledger.store.rating import CustomerWindow, Entity

STAGE = "book_revenue"
CHUNK_HOURS = 2_000
Place = tuple[str, str, datetime, str]


async def book_revenue(
    connection: Connection, *, entity_id: str | None = None, now: datetime
) -> StageReport:
    """Bring the journal up to the charges of one entity, or of all."""
    del now
    await cost.lock_stage(connection, stage=STAGE)
    try:
        cut_off = await draw_cut_off(connection, STAGE)
        hours = rows = 0
        for entity in await rating.list_entities(connection, entity_id=entity_id):
            done, written = await _book_entity(connection, entity, cut_off)
            hours, rows = hours + done, rows + written
    finally:
        await cost.unlock_stage(connection, stage=STAGE)
    return StageReport(STAGE, cut_off, hours, rows)


async def _book_entity(connection: Connection, entity: Entity, cut_off: CutOff) -> tuple[int, int]:
    since_seq = await cost.find_last_run(connection, stage=STAGE, entity_id=entity.entity_id)
    changed = await rating.find_changed_charges(
        connection,
        entity_id=entity.entity_id,
        since_seq=since_seq,
        batch_seq=cut_off.batch_seq,
    )
    due = sorted({(customer, hour_start(at, entity.zone)) for customer, at in changed})
    rows = 0
    for first in range(0, len(due), CHUNK_HOURS):
        rows += await _book_hours(connection, entity, due[first : first + CHUNK_HOURS], cut_off)
    await cost.add_stage_run(
        connection,
        stage=STAGE,
        entity_id=entity.entity_id,
        cut_off_id=cut_off.cut_off_id,
        windows=len(due),
        rows=rows,
    )
    return len(due), rows


async def _book_hours(
    connection: Connection, entity: Entity, due: Sequence[CustomerWindow], cut_off: CutOff
) -> int:
    async with connection.transaction():
        found = await rating.sum_charges_to_book(
            connection, windows=_windows_of(due, entity.zone), batch_seq=cut_off.batch_seq
        )
        sums: dict[Place, Decimal] = defaultdict(lambda: ZERO)
        for row in found:
            hour = hour_start(row["window_start"], entity.zone)
            place = (row["customer_id"], row["subscription_id"], hour, row["currency"])
            sums[place] = EXACT.add(sums[place], row["amount"])
        entries = [_entry(entity, place, amount) for place, amount in sorted(sums.items())]
        batch_seq = await draw_batch_seq(connection)
        return await book_entries(connection, entries, cut_off, batch_seq)


def _windows_of(due: Sequence[CustomerWindow], zone: str) -> list[CustomerWindow]:
    return [
        (customer, at)
        for customer, hour in due
        for at in windows(Period(hour, hour + timedelta(hours=1)))
        if hour_start(at, zone) == hour
    ]


def _entry(entity: Entity, place: Place, amount: Decimal) -> JournalEntry:
    customer_id, subscription_id, hour, currency = place
    return JournalEntry(
        entity_id=entity.entity_id,
        kind="revenue",
        natural_key=f"revenue:{customer_id}:{subscription_id}:{hour:%Y-%m-%dT%H:%MZ}:{currency}",
        booked_for=hour,
        description=f"Usage of {customer_id} in the hour",
        postings=usage_accrued(customer_id, amount, currency),
        customer_id=customer_id,
    )
