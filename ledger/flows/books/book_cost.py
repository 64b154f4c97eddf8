"""Books cost: what windows cost becomes one journal entry per entity, local hour and currency.

An hour whose cost changed is booked again by its difference; equal costs book nothing.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from ledger.domain.books.booking import CostTotals, cost_accrued
from ledger.domain.books.journal import JournalEntry
from ledger.domain.cost.factory import CostEntity
from ledger.domain.parked import Part
from ledger.domain.period import Period, hour_start, windows
from ledger.flows.parts import StageWork, by_count, run_parts
from ledger.flows.stage import StageReport, stage_report
from ledger.store.books.journal import book_entries
from ledger.store.connect import CutOff, draw_batch_seq, draw_cut_off
from ledger.store.cost import cost
from ledger.store.queries import Connection

STAGE = "book_cost"
CHUNK_HOURS = 168
HOUR = timedelta(hours=1)


async def book_cost(
    connection: Connection, *, entity_id: str | None = None, now: datetime
) -> StageReport:
    """Bring the journal up to the cost lines of one entity, or of all, that began before `now`."""
    async with cost.running(connection, STAGE):
        cut_off = await draw_cut_off(connection, STAGE)
        runs = [
            await run_parts(
                connection, _work(connection, entity, cut_off, now), cut_off=cut_off, now=now
            )
            for entity in await cost.list_cost_entities(connection, entity_id=entity_id)
        ]
    return stage_report(STAGE, cut_off, runs)


def _work(connection: Connection, entity: CostEntity, cut_off: CutOff, now: datetime) -> StageWork:
    name = entity.entity_id

    async def find(again: Sequence[Part]) -> list[Part]:
        last = await cost.find_last_run(connection, stage=STAGE, entity_id=name)
        changed = await cost.find_changed_costs(
            connection, entity_id=name, since_seq=last.batch_seq, batch_seq=cut_off.batch_seq
        )
        touched = {window for window in changed if window < now} | {at for _, at in again}
        return [("", hour) for hour in sorted({hour_start(at, entity.zone) for at in touched})]

    async def do(chunk: Sequence[Part]) -> int:
        return await _book_hours(connection, entity, [hour for _, hour in chunk], cut_off)

    return StageWork(STAGE, name, HOUR, find, lambda parts: by_count(parts, CHUNK_HOURS), do)


async def _book_hours(
    connection: Connection, entity: CostEntity, due: Sequence[datetime], cut_off: CutOff
) -> int:
    async with connection.transaction():
        found = await cost.sum_costs_to_book(
            connection,
            entity_id=entity.entity_id,
            windows=_windows_of(due, entity.zone),
            batch_seq=cut_off.batch_seq,
        )
        totals: dict[tuple[datetime, str], list[CostTotals]] = defaultdict(list)
        for row in found:
            hour = hour_start(row["window_start"], entity.zone)
            totals[hour, row["currency"]].append(
                CostTotals(
                    line=row["line"],
                    gpu_terms=row["gpu_terms"],
                    device_cost=row["device_cost"],
                    overhead_cost=row["overhead_cost"],
                    gpu_cost=row["gpu_cost"],
                )
            )
        entries = [
            _entry(entity, hour, currency, lines) for (hour, currency), lines in totals.items()
        ]
        batch_seq = await draw_batch_seq(connection)
        return await book_entries(connection, entries, cut_off, batch_seq)


def _windows_of(due: Sequence[datetime], zone: str) -> list[datetime]:
    """Every window that lies in one of the local hours."""
    return [
        window
        for hour in due
        for window in windows(Period(hour, hour + HOUR))
        if hour_start(window, zone) == hour
    ]


def _entry(
    entity: CostEntity, hour: datetime, currency: str, lines: Sequence[CostTotals]
) -> JournalEntry:
    return JournalEntry(
        entity_id=entity.entity_id,
        kind="cost",
        natural_key=f"cost:{entity.entity_id}:{hour:%Y-%m-%dT%H:%MZ}:{currency}",
        booked_for=hour,
        description="Cost of the hour: electricity and hardware",
        postings=cost_accrued(lines, currency),
    )
