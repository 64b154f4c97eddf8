"""How the ledger stands: what arrived and when last, what waits, what is covered.

An outage must not look like zero usage: a source is silent since a named time, never at zero.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ledger.domain.errors import MissingInputError
from ledger.domain.parked import Parked
from ledger.reports.metering import coverage
from ledger.reports.pricing.waiting import list_all_unpriced
from ledger.store import operations, standing
from ledger.store.connect import CutOff
from ledger.store.cost import cost
from ledger.store.metering.conflicts import count_conflicts
from ledger.store.queries import Connection

# Coverage is told of this long before the newest event of any source.
COVERAGE_SPAN = timedelta(hours=24)
ENDED_MOST = 10


@dataclass(frozen=True, slots=True)
class Status:
    """Plain rows, ready to be printed; times are aware, counts integers, unknown is None."""

    now: datetime
    sources: list[dict[str, Any]]
    fates: dict[str, int]
    suspense: list[dict[str, Any]]
    unpriced: Sequence[dict[str, Any]]
    quarantined: int
    dead_letters: int
    conflicts: int
    sequence_gaps: list[dict[str, Any]]
    kafka_positions: list[dict[str, Any]]
    kafka_gaps: list[dict[str, Any]]
    stages: list[dict[str, object]]
    work: list[dict[str, Any]]
    parked: list[dict[str, Any]]
    open_batches: list[dict[str, Any]]
    ended_sessions: list[dict[str, Any]]
    coverage: list[dict[str, Any]]
    usage: dict[str, int]


async def read_status(
    connection: Connection, *, stages: Iterable[str], cut_off: CutOff, now: datetime
) -> Status:
    """Everything an operator looks at first; `stages` are told of also before they ever ran."""
    sources = [_silent(dict(row), now) for row in await operations.list_source_states(connection)]
    newest = [row["last_event_at"] for row in sources if row["last_event_at"] is not None]
    return Status(
        now=now,
        sources=sources,
        fates=dict(await operations.sum_receipts(connection)),
        suspense=[dict(row) for row in await operations.list_suspense(connection)],
        unpriced=await list_all_unpriced(connection, cut_off=cut_off),
        quarantined=await operations.count_quarantined(connection),
        dead_letters=await operations.count_dead_letters(connection),
        conflicts=await count_conflicts(connection),
        sequence_gaps=[dict(row) for row in await operations.list_sequence_gaps(connection)],
        kafka_positions=[dict(row) for row in await operations.list_kafka_positions(connection)],
        kafka_gaps=[dict(row) for row in await operations.list_kafka_gaps(connection)],
        stages=await _stages(connection, stages),
        work=[dict(row) for row in await standing.list_work_states(connection)],
        parked=[_parked(one) for one in await standing.list_parked(connection)],
        open_batches=[
            _open(dict(row), now) for row in await operations.list_open_batches(connection)
        ],
        ended_sessions=[
            dict(row) for row in await operations.list_ended_sessions(connection, most=ENDED_MOST)
        ],
        coverage=await _coverage(connection, cut_off, max(newest)) if newest else [],
        usage=await operations.sum_usage_marks(
            connection,
            since=now - COVERAGE_SPAN,
            until=now,
            batch_seq=cut_off.batch_seq,
        ),
    )


async def _stages(connection: Connection, names: Iterable[str]) -> list[dict[str, object]]:
    ran = {row["stage"]: dict(row) for row in await operations.list_stage_states(connection)}
    never = {"batch_seq": None, "ran_at": None, "behind": None}
    return [ran.get(name) or {"stage": name, **never} for name in dict.fromkeys([*names, *ran])]


def _parked(one: Parked) -> dict[str, Any]:
    return {
        "stage": one.stage,
        "entity_id": one.entity_id,
        "customer_id": one.what.subject or None,
        "since": one.what.since,
        "until": one.what.until,
        "reason": one.what.reason,
        "failures": one.failures,
        "first_failed_at": one.first_failed_at,
        "next_try_at": one.next_try_at,
    }


def _silent(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    last = row["last_received_at"]
    silent_s = None if last is None else max((now - last) // timedelta(seconds=1), 0)
    return {**row, "silent_s": silent_s}


def _open(row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """A batch on its way in; what it is of another role is not for us to see, and unknown."""
    began = row["began_at"]
    open_s = None if began is None else max((now - began) // timedelta(seconds=1), 0)
    return {**row, "open_s": open_s}


async def _coverage(
    connection: Connection, cut_off: CutOff, newest: datetime
) -> list[dict[str, Any]]:
    found = []
    since, until = newest - COVERAGE_SPAN, newest
    for entity in await cost.list_cost_entities(connection, entity_id=None):
        try:
            report = await coverage.coverage_report(
                connection,
                entity_id=entity.entity_id,
                since=since,
                until=until,
                cut_off=cut_off,
            )
        except MissingInputError as error:
            found.append({"entity_id": entity.entity_id, "missing": str(error)})
            continue
        found.append(coverage.to_json(report))
    return found
