"""Books revenue: charges become one entry per subscription, local hour and currency.

Revenue is booked when tokens were used, not when they are invoiced; an hour whose charges changed
is booked again by its difference.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from ledger.domain.books.booking import usage_accrued
from ledger.domain.books.journal import JournalEntry
from ledger.domain.money import EXACT, ZERO
from ledger.domain.parked import Part
from ledger.domain.period import Period, hour_start, windows
from ledger.flows.parts import StageWork, by_count, run_parts
from ledger.flows.stage import StageReport, stage_report
from ledger.store.books.journal import book_entries
from ledger.store.connect import CutOff, draw_batch_seq, draw_cut_off
from ledger.store.cost import cost
from ledger.store.pricing import rating
from ledger.store.pricing.rating import CustomerWindow, RatedEntity
from ledger.store.queries import Connection

STAGE = "book_revenue"
CHUNK_HOURS = 2_000
HOUR = timedelta(hours=1)
Place = tuple[str, str, datetime, str]


async def book_revenue(
    connection: Connection, *, entity_id: str | None = None, now: datetime
) -> StageReport:
    """Bring the journal up to the charges of one entity, or of all."""
    async with cost.running(connection, STAGE):
        cut_off = await draw_cut_off(connection, STAGE)
        runs = [
            await run_parts(
                connection, _work(connection, entity, cut_off), cut_off=cut_off, now=now
            )
            for entity in await rating.list_entities(connection, entity_id=entity_id)
        ]
    return stage_report(STAGE, cut_off, runs)


def _work(connection: Connection, entity: RatedEntity, cut_off: CutOff) -> StageWork:
    name = entity.entity_id

    async def find(again: Sequence[Part]) -> list[Part]:
        last = await cost.find_last_run(connection, stage=STAGE, entity_id=name)
        changed = await rating.find_changed_charges(
            connection, entity_id=name, since_seq=last.batch_seq, batch_seq=cut_off.batch_seq
        )
        touched = [*changed, *again]
        return sorted({(customer, hour_start(at, entity.zone)) for customer, at in touched})

    async def do(chunk: Sequence[Part]) -> int:
        return await _book_hours(connection, entity, chunk, cut_off)

    return StageWork(STAGE, name, HOUR, find, lambda parts: by_count(parts, CHUNK_HOURS), do)


async def _book_hours(
    connection: Connection, entity: RatedEntity, due: Sequence[CustomerWindow], cut_off: CutOff
) -> int:
    async with connection.transaction():
        found = await rating.sum_charges_to_book(
            connection, windows=_windows_of(due, entity.zone), batch_seq=cut_off.batch_seq
        )
        sums: dict[Place, Decimal] = defaultdict(lambda: ZERO)
        for charged in found:
            hour = hour_start(charged.window_start, entity.zone)
            place = (charged.customer_id, charged.subscription_id, hour, charged.currency)
            sums[place] = EXACT.add(sums[place], charged.amount)
        entries = [_entry(entity, place, amount) for place, amount in sorted(sums.items())]
        batch_seq = await draw_batch_seq(connection)
        return await book_entries(connection, entries, cut_off, batch_seq)


def _windows_of(due: Sequence[CustomerWindow], zone: str) -> list[CustomerWindow]:
    return [
        (customer, at)
        for customer, hour in due
        for at in windows(Period(hour, hour + HOUR))
        if hour_start(at, zone) == hour
    ]


def _entry(entity: RatedEntity, place: Place, amount: Decimal) -> JournalEntry:
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
