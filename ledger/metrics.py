"""What a process counts of ingest, and what the ledger knows of its sources, for Prometheus."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from prometheus_client import Counter, Gauge, Histogram

from ledger.domain.metering.fact import Fate
from ledger.domain.metering.record import RecordOutcome
from ledger.flows.stages import STAGES
from ledger.store.metering.merging import UnmergedDays
from ledger.store.operations import SequenceGap, SourceState
from ledger.store.standing import WorkStanding
from ledger.store.sums import UnsummedBatches

ITEMS = Counter(
    "tokenledger_ingest_items",
    "Items stored by this process, by what became of them and how they came",
    ["fate", "transport"],
)
UNKNOWN = Counter(
    "tokenledger_ingest_unknown_attributes",
    "Attributes of events' data that nobody reads and that were dropped, once an event and name",
    ["transport"],
)
RECORDS = Counter(
    "tokenledger_ingest_records", "Records or bodies stored by this process", ["transport"]
)
BATCH_ITEMS = Histogram(
    "tokenledger_ingest_batch_items",
    "Items in one transaction",
    buckets=(1, 10, 100, 1_000, 10_000, 100_000, 1_000_000),
)
FRESHNESS = Gauge(
    "tokenledger_ingest_last_commit_timestamp_seconds", "When this process last committed a batch"
)
LOST_FENCES = Counter(
    "tokenledger_ingest_fences_lost", "Batches rolled back because another worker had moved on"
)
LAG = Gauge(
    "tokenledger_ingest_lag_records", "Records behind the end of a partition", ["partition"]
)
LOST_OFFSETS = Counter(
    "tokenledger_ingest_lost_offsets", "Offsets that the broker no longer had when we came for them"
)
SOURCE_RECEIVED = Gauge(
    "tokenledger_source_last_received_timestamp_seconds",
    "When something of a source was last stored",
    ["source"],
)
SOURCE_EVENT = Gauge(
    "tokenledger_source_last_event_timestamp_seconds",
    "When the newest event in a source's last batch happened",
    ["source"],
)
SOURCE_ITEMS = Gauge(
    "tokenledger_source_items",
    "Items of a source in the ledger, by fate on arrival",
    ["source", "fate"],
)
MISSING = Gauge(
    "tokenledger_missing_batches",
    "Numbers missing in the batches of a producer, or of a bound key that names it",
    ["source", "producer", "owner"],
)
QUARANTINED = Gauge("tokenledger_quarantined_items", "Items in quarantine that nobody has replayed")
DEAD_LETTERS = Gauge(
    "tokenledger_dead_letters", "Records that could not be stored, set aside whole, and wait"
)
OLDEST_BATCH = Gauge(
    "tokenledger_oldest_open_batch_seconds",
    "Age of the oldest batch that is not committed: nothing after it is in any report",
)
UNSUMMED = Gauge(
    "tokenledger_unsummed_batches", "Batches whose windows are not summed yet, as last measured"
)
UNSUMMED_AGE = Gauge(
    "tokenledger_oldest_unsummed_batch_seconds",
    "Age of the oldest batch whose windows are not summed: nothing after it is in any report",
)
UNMERGED = Gauge(
    "tokenledger_unmerged_days",
    "Days that are over and of which not all facts are merged, as last measured",
)
ENDED_SESSIONS = Counter(
    "tokenledger_sessions_ended", "Frozen sessions that held a batch number and were ended"
)
MEASURED = Gauge(
    "tokenledger_measured_timestamp_seconds",
    "When this process last asked the ledger for what it shows of sources, gaps and quarantine",
)
WORK_SUCCEEDED = Gauge(
    "tokenledger_work_last_success_timestamp_seconds",
    "When a piece of background work last succeeded: of stages, for the entity that waits longest",
    ["work"],
)
WORK_FAILURES = Gauge(
    "tokenledger_work_failures",
    "Failures of a piece of background work since it succeeded",
    ["work"],
)
PARKED = Gauge(
    "tokenledger_parked", "What a stage could not do, went on without and will try again", ["stage"]
)


def expect(transport: str) -> None:
    """Show zeros for what may come this way, so that the first of each kind is seen as a rise."""
    RECORDS.labels(transport)
    UNKNOWN.labels(transport)
    for fate in Fate:
        ITEMS.labels(fate, transport)


def count_outcomes(outcomes: Sequence[RecordOutcome], transport: str) -> None:
    """Add one transaction's outcomes."""
    RECORDS.labels(transport).inc(len(outcomes))
    for fate, *counts in zip(Fate, *(outcome.tally for outcome in outcomes), strict=True):
        ITEMS.labels(fate, transport).inc(sum(counts))
    UNKNOWN.labels(transport).inc(sum(sum(outcome.unknown.values()) for outcome in outcomes))
    BATCH_ITEMS.observe(sum(outcome.received for outcome in outcomes))
    FRESHNESS.set_to_current_time()


def show_ledger(
    sources: Iterable[SourceState],
    gaps: Iterable[SequenceGap],
    quarantined: int,
    dead_letters: int,
) -> None:
    """Set what the ledger knows, whoever stored it."""
    for source in sources:
        _set_time(SOURCE_RECEIVED.labels(source.source), source.last_received_at)
        _set_time(SOURCE_EVENT.labels(source.source), source.last_event_at)
        for fate in Fate:
            SOURCE_ITEMS.labels(source.source, fate).set(getattr(source, fate) or 0)
    MISSING.clear()
    for gap in gaps:
        missing = gap.last_missing - gap.first_missing + 1
        MISSING.labels(gap.source, gap.producer, gap.owner).inc(missing)
    QUARANTINED.set(quarantined)
    DEAD_LETTERS.set(dead_letters)
    MEASURED.set_to_current_time()


def show_standing(work: Iterable[WorkStanding], parked: Mapping[str, int]) -> None:
    """Set when each piece of work last succeeded, how often it failed since, and what is parked."""
    for each in work:
        _set_time(WORK_SUCCEEDED.labels(each.work), each.succeeded_at)
        WORK_FAILURES.labels(each.work).set(each.failures)
    PARKED.clear()
    for stage in STAGES:
        PARKED.labels(stage).set(parked.get(stage, 0))


def show_oldest_batch(began_at: datetime | None, unsummed: UnsummedBatches, now: datetime) -> None:
    """Set how old the oldest batch is that is open, and that is unsummed; 0 where there is none."""
    OLDEST_BATCH.set(_age_s(began_at, now))
    UNSUMMED_AGE.set(_age_s(unsummed.stored_at, now))
    UNSUMMED.set(unsummed.batches)


def show_unmerged(unmerged: UnmergedDays) -> None:
    """Set how many days that are over are not merged."""
    UNMERGED.set(unmerged.days)


def _age_s(since: datetime | None, now: datetime) -> int:
    return 0 if since is None else max((now - since) // timedelta(seconds=1), 0)


def _set_time(gauge: Gauge, moment: datetime | None) -> None:
    if moment is not None:
        gauge.set(int(moment.timestamp()))
