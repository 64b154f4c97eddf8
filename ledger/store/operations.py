"""What a running ledger looks after, and what an operator asks it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from ledger.domain.metering.fact import MARKS
from ledger.store.queries import Connection, Reader, load_queries

OPERATIONS = load_queries("operations")
USAGE_COUNTS = ("requests", "uncached", "cache_read", "cache_write", "visible", "reasoning", *MARKS)
LAST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A batch number drawn and not committed; what it is of another role is unknown."""

    batch_seq: int
    pid: int | None
    application: str | None
    waits_for: str | None
    quiet_since: datetime | None
    began_at: datetime | None


@dataclass(frozen=True, slots=True)
class DayTables:
    """How many days have tables of their own, how many locks one look through all of these takes,
    and how many all sessions have together."""

    days: int
    locks: int
    locks_max: int


@dataclass(frozen=True, slots=True)
class EndedSession:
    """A session that held a batch number and did nothing since `quiet_since`."""

    batch_seq: int
    pid: int
    application: str
    quiet_since: datetime
    ended_at: datetime

    def __str__(self) -> str:
        quiet_s = (self.ended_at - self.quiet_since).total_seconds()
        return (
            f"session {self.pid} ({self.application or 'unnamed'}) held batch {self.batch_seq} and"
            f" did nothing for {quiet_s:.0f} s: it was ended, and its batch rolled back"
        )


@dataclass(frozen=True, slots=True)
class Fates:
    """What became of what arrived; the fates add up to `received`."""

    received: int
    counted: int
    duplicate: int
    conflict: int
    quarantined: int
    superseded: int
    suspense: int


@dataclass(frozen=True, slots=True)
class SourceState:
    """What arrived of a source by fate, and when last; without a form it was always refused."""

    source: str
    form: str | None
    received: int | None
    counted: int | None
    duplicate: int | None
    conflict: int | None
    quarantined: int | None
    superseded: int | None
    suspense: int | None
    last_received_at: datetime | None
    last_event_at: datetime | None


@dataclass(frozen=True, slots=True)
class SequenceGap:
    """Batch numbers missing inside what a producer sent; with a bound key, of its `owner`."""

    source: str
    producer: str
    epoch: int
    owner: str
    first_missing: int
    last_missing: int


@dataclass(frozen=True, slots=True)
class KafkaPosition:
    """How far a partition was read."""

    topic: str
    partition: int
    next_offset: int


@dataclass(frozen=True, slots=True)
class KafkaGap:
    """Offsets that the broker no longer had when we came for them."""

    topic: str | None
    partition: int
    from_offset: int
    to_offset: int
    noticed_at: datetime


@dataclass(frozen=True, slots=True)
class StageState:
    """A stage's newest run, and how many batches were drawn since; None before it ever ran."""

    stage: str
    batch_seq: int | None = None
    ran_at: datetime | None = None
    behind: int | None = None


@dataclass(frozen=True, slots=True)
class UnreadItem:
    """Something that could not be read, and why; `items` is how many it stands for."""

    quarantine_id: int
    source: str
    event_id: str | None
    reason: str
    detail: str
    received_at: datetime
    items: int


@dataclass(frozen=True, slots=True)
class RawItem:
    """The bytes of what could not be read, as far as they are kept."""

    raw: bytes
    truncated: bool


@dataclass(frozen=True, slots=True)
class Suspended:
    """What waits under a name that nobody knows."""

    customer_ref: str
    first_window: datetime
    last_window: datetime
    requests: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class MarkedUsage:
    """Requests, and how many of them lack what."""

    requests: int
    estimated: int
    incomplete: int
    input_unknown: int
    output_unknown: int
    cached_unknown: int
    written_unknown: int
    reasoning_unknown: int


async def sum_receipts_to_cut_off(connection: Connection) -> int | None:
    """Sum what arrived up to the last cut-off; None where another process is at it."""
    summed: int | None = await OPERATIONS["sum_receipts_to_cut_off"].value(connection)
    return summed


async def list_open_batches(connection: Connection) -> list[OpenBatch]:
    """Batch numbers drawn and not yet committed, oldest first, with the session of each."""
    return await OPERATIONS["list_open_batches"].values(connection, OpenBatch)


async def end_frozen_sessions(connection: Connection, *, quiet_s: int) -> list[EndedSession]:
    """End own sessions that hold a batch number and did nothing for `quiet_s` seconds."""
    return await OPERATIONS["end_frozen_sessions"].values(connection, EndedSession, quiet_s=quiet_s)


async def list_ended_sessions(connection: Connection, *, most: int) -> list[EndedSession]:
    """The last sessions that were ended, newest first."""
    return await OPERATIONS["list_ended_sessions"].values(connection, EndedSession, most=most)


async def list_source_states(connection: Connection) -> list[SourceState]:
    """Each source: what arrived by fate, when last, and its newest event's time."""
    return await OPERATIONS["list_source_states"].values(connection, SourceState)


async def sum_receipts(connection: Connection) -> Fates:
    """What arrived in all, by fate."""
    (fates,) = await OPERATIONS["sum_receipts"].values(connection, Fates)
    return fates


async def list_sequence_gaps(connection: Connection) -> list[SequenceGap]:
    """Batch numbers missing inside what a producer sent."""
    return await OPERATIONS["list_sequence_gaps"].values(connection, SequenceGap)


async def list_kafka_positions(connection: Connection) -> list[KafkaPosition]:
    """How far each partition was read."""
    return await OPERATIONS["list_kafka_positions"].values(connection, KafkaPosition)


async def list_kafka_gaps(connection: Connection) -> list[KafkaGap]:
    """Offsets the broker no longer had when we came for them."""
    return await OPERATIONS["list_kafka_gaps"].values(connection, KafkaGap)


async def list_stage_states(connection: Connection) -> list[StageState]:
    """The newest run of each stage and how many batches were drawn since its cut-off."""
    return await OPERATIONS["list_stage_states"].values(connection, StageState)


async def count_quarantined(connection: Connection) -> int:
    """Unreadable events that wait."""
    return int(await OPERATIONS["count_quarantined"].value(connection))


async def list_quarantine(
    connection: Reader, *, rows: int, before: int = LAST, reason: str | None = None
) -> list[UnreadItem]:
    """Unreadable events that wait, of a reason or any, newest first, with ids below `before`."""
    return await OPERATIONS["list_quarantine"].values(
        connection, UnreadItem, rows=rows, before=before, reason=reason
    )


async def count_day_tables(connection: Connection) -> DayTables:
    """Days that have tables of their own, and room for their locks."""
    (row,) = await OPERATIONS["count_day_tables"].rows(connection)
    return DayTables(row["days"], row["locks"], row["locks_max"])


async def count_dead_letters(connection: Connection) -> int:
    """Whole records that could not be stored and wait."""
    return int(await OPERATIONS["count_dead_letters"].value(connection))


async def find_quarantine_raw(connection: Reader, quarantine_id: int) -> RawItem | None:
    """The bytes of one, or None where they expired or never were."""
    return await OPERATIONS["find_quarantine_raw"].first(
        connection, RawItem, quarantine_id=quarantine_id
    )


async def list_suspense(connection: Reader) -> list[Suspended]:
    """Usage nobody owns, by the customer its events name."""
    return await OPERATIONS["list_suspense"].values(connection, Suspended)


async def sum_usage_marks(
    connection: Connection,
    *,
    since: datetime,
    until: datetime,
    batch_seq: int,
) -> Mapping[str, int]:
    """Requests in [since, until), and how many of them lack what, by the names of MARKS."""
    (marks,) = await OPERATIONS["sum_usage_marks"].values(
        connection,
        MarkedUsage,
        since=since,
        until=until,
        batch_seq=batch_seq,
    )
    return asdict(marks)
