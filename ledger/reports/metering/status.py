"""How the ledger stands: what arrived and when last, what waits, what is covered.

An outage must not look like zero usage: a source is silent since a named time, never at zero.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from ledger.domain.cost.plausible import ImplausibleWork
from ledger.domain.errors import MissingInputError
from ledger.domain.parked import Parked
from ledger.reports.metering import coverage_text
from ledger.reports.metering.coverage import coverage_report
from ledger.reports.pricing.waiting import list_all_unpriced
from ledger.store import operations, standing
from ledger.store.billing import alerts
from ledger.store.connect import CutOff
from ledger.store.cost import cost
from ledger.store.cost.producers import list_implausible
from ledger.store.cost.utility_bills import BillOff, list_bills_off
from ledger.store.cost.weight_checks import DriftedWeights, list_drifted
from ledger.store.metering.conflicts import count_conflicts
from ledger.store.metering.merging import UnmergedDays, count_unmerged_days
from ledger.store.queries import Connection
from ledger.store.sums import UnsummedBatches, count_unsummed

# Coverage is told of this long before the newest event of any source.
COVERAGE_SPAN = timedelta(hours=24)
ENDED_MOST = 10
# Budgets are told of for as long, the newest first.
ALERTS_SPAN, ALERTS_MOST = timedelta(hours=24), 20


@dataclass(frozen=True, slots=True)
class HeardSource(operations.SourceState):
    """A source, and for how long nothing came of it; None is never."""

    silent_s: int | None


@dataclass(frozen=True, slots=True)
class AgedBatch(operations.OpenBatch):
    """A batch on its way in, and for how long; None is unknown."""

    open_s: int | None


@dataclass(frozen=True, slots=True)
class AgedSums(UnsummedBatches):
    """How far sums are behind, and for how long the oldest batch waits; None where none does."""

    unsummed_s: int | None


@dataclass(frozen=True, slots=True)
class ParkedWork:
    """What a stage could not do, why, and when it is tried again."""

    stage: str
    entity_id: str
    customer_id: str | None
    since: datetime | None
    until: datetime | None
    reason: str
    failures: int
    first_failed_at: datetime
    next_try_at: datetime


@dataclass(frozen=True, slots=True)
class Status:
    """Ready to be printed; times are aware, counts integers, unknown is None."""

    now: datetime
    sources: Sequence[HeardSource]
    fates: operations.Fates
    suspense: Sequence[operations.Suspended]
    unpriced: Sequence[dict[str, Any]]
    quarantined: int
    dead_letters: int
    conflicts: int
    sequence_gaps: Sequence[operations.SequenceGap]
    kafka_positions: Sequence[operations.KafkaPosition]
    kafka_gaps: Sequence[operations.KafkaGap]
    stages: Sequence[operations.StageState]
    work: Sequence[standing.WorkState]
    parked: Sequence[ParkedWork]
    open_batches: Sequence[AgedBatch]
    unsummed: AgedSums
    unmerged: UnmergedDays
    day_tables: operations.DayTables
    ended_sessions: Sequence[operations.EndedSession]
    budget_alerts: Sequence[alerts.BudgetAlert]
    low_balances: Sequence[alerts.LowBalance]
    drifted_weights: Sequence[DriftedWeights]
    implausible_work: Sequence[ImplausibleWork]
    bills_off: Sequence[BillOff]
    coverage: list[dict[str, Any]]
    usage: Mapping[str, int]


async def read_status(
    connection: Connection, *, stages: Iterable[str], cut_off: CutOff, now: datetime
) -> Status:
    """Everything an operator looks at first; `stages` are told of also before they ever ran."""
    sources = [
        HeardSource(**asdict(each), silent_s=_seconds(each.last_received_at, now))
        for each in await operations.list_source_states(connection)
    ]
    unsummed = await count_unsummed(connection)
    newest = [each.last_event_at for each in sources if each.last_event_at is not None]
    return Status(
        now=now,
        sources=sources,
        fates=await operations.sum_receipts(connection),
        suspense=await operations.list_suspense(connection),
        unpriced=await list_all_unpriced(connection, cut_off=cut_off),
        quarantined=await operations.count_quarantined(connection),
        dead_letters=await operations.count_dead_letters(connection),
        conflicts=await count_conflicts(connection),
        sequence_gaps=await operations.list_sequence_gaps(connection),
        kafka_positions=await operations.list_kafka_positions(connection),
        kafka_gaps=await operations.list_kafka_gaps(connection),
        stages=await _stages(connection, stages),
        work=await standing.list_work_states(connection),
        parked=[_parked(each) for each in await standing.list_parked(connection)],
        open_batches=[
            AgedBatch(**asdict(each), open_s=_seconds(each.began_at, now))
            for each in await operations.list_open_batches(connection)
        ],
        unsummed=AgedSums(**asdict(unsummed), unsummed_s=_seconds(unsummed.stored_at, now)),
        unmerged=await count_unmerged_days(connection, before=now.date()),
        day_tables=await operations.count_day_tables(connection),
        ended_sessions=await operations.list_ended_sessions(connection, most=ENDED_MOST),
        budget_alerts=await alerts.list_new_alerts(
            connection, since=now - ALERTS_SPAN, most=ALERTS_MOST
        ),
        low_balances=await alerts.list_low_balances(connection, now=now),
        drifted_weights=await list_drifted(connection, now=now),
        implausible_work=await _implausible(connection, cut_off, max(newest, default=now)),
        bills_off=await list_bills_off(connection, now=now),
        coverage=await _coverage(connection, cut_off, max(newest)) if newest else [],
        usage=await operations.sum_usage_marks(
            connection,
            since=now - COVERAGE_SPAN,
            until=now,
            batch_seq=cut_off.batch_seq,
        ),
    )


async def _stages(connection: Connection, names: Iterable[str]) -> list[operations.StageState]:
    ran = {each.stage: each for each in await operations.list_stage_states(connection)}
    return [ran.get(name) or operations.StageState(name) for name in dict.fromkeys([*names, *ran])]


def _parked(parked: Parked) -> ParkedWork:
    return ParkedWork(
        stage=parked.stage,
        entity_id=parked.entity_id,
        customer_id=parked.what.subject or None,
        since=parked.what.since,
        until=parked.what.until,
        reason=parked.what.reason,
        failures=parked.failures,
        first_failed_at=parked.first_failed_at,
        next_try_at=parked.next_try_at,
    )


def _seconds(since: datetime | None, now: datetime) -> int | None:
    return None if since is None else max((now - since) // timedelta(seconds=1), 0)


async def _implausible(
    connection: Connection, cut_off: CutOff, newest: datetime
) -> list[ImplausibleWork]:
    since, until, seq = newest - COVERAGE_SPAN, newest, cut_off.batch_seq
    return [
        each
        for entity in await cost.list_cost_entities(connection, entity_id=None)
        for each in await list_implausible(
            connection, entity_id=entity.entity_id, since=since, until=until, batch_seq=seq
        )
    ]


async def _coverage(
    connection: Connection, cut_off: CutOff, newest: datetime
) -> list[dict[str, Any]]:
    coverage = []
    since, until = newest - COVERAGE_SPAN, newest
    for entity in await cost.list_cost_entities(connection, entity_id=None):
        try:
            report = await coverage_report(
                connection,
                entity_id=entity.entity_id,
                since=since,
                until=until,
                cut_off=cut_off,
            )
        except MissingInputError as error:
            coverage.append({"entity_id": entity.entity_id, "missing": str(error)})
            continue
        coverage.append(coverage_text.to_json(report))
    return coverage
