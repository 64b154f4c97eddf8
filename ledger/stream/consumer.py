"""Reads the topic and stores what it holds; the position is PostgreSQL's, Kafka's serves lag tools.

The only file of the ledger that imports kafka. One thread owns the consumer from its first call to
its last; the event loop owns the database.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypeVar

import asyncpg
from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from ledger.clock import now
from ledger.domain.errors import InvalidInputError, UnavailableError
from ledger.domain.ingest.record import Record
from ledger.flows.directory import DirectoryCache
from ledger.flows.ingest import IngestLimits, PositionLostError, ingest, prepare_storage
from ledger.flows.position import start_partition
from ledger.settings import Settings
from ledger.store.connect import connect
from ledger.store.positions import Partition, PositionMove
from ledger.store.queries import Connection
from ledger.stream import metrics
from ledger.wire.batch import MAX_BATCH_BYTES, BatchHeader
from ledger.wire.errors import BatchHeaderError

log = logging.getLogger(__name__)

POLL_MS = 500
POLL_RECORDS = 16
RETRY_S = 1
# A producer keeps to 768 KiB; what others write is read as well, within reason.
RECORD_BYTES_MAX = 16 * MAX_BATCH_BYTES
T = TypeVar("T")
_DATABASE_ERRORS = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.TooManyConnectionsError,
    OSError,
)


async def run_worker(settings: Settings, stop: asyncio.Event) -> None:
    """Store what arrives until `stop` is set; a broker or a database that is away is waited for.

    InvalidInputError where the settings name no broker or no database.
    """
    if settings.kafka_bootstrap is None or settings.worker_url is None:
        raise InvalidInputError(
            "A worker needs a broker and a database.",
            "Set TOKENLEDGER_KAFKA_BOOTSTRAP and TOKENLEDGER_WORKER_URL.",
        )
    with ThreadPoolExecutor(1, thread_name_prefix="kafka") as thread:
        while not stop.is_set():
            try:
                await _run_once(settings, thread, stop)
            except (*_DATABASE_ERRORS, KafkaError, UnavailableError) as error:
                log.warning("worker starts again in %s s: %r", RETRY_S, error)
                await _pause(stop)


async def _run_once(settings: Settings, thread: ThreadPoolExecutor, stop: asyncio.Event) -> None:
    assert settings.worker_url is not None
    connection = await connect(settings.worker_url)
    topic = _Topic(settings, thread)
    try:
        await topic.open()
        worker = _Worker(settings, connection, topic)
        while not stop.is_set():
            await worker.step()
    finally:
        await topic.close()
        await connection.close(timeout=5)


async def _pause(stop: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(stop.wait(), RETRY_S)
    except TimeoutError:
        return


class _Notes(ConsumerRebalanceListener):  # type: ignore[misc]
    """Only notes that partitions came or went: it is called inside poll, where nothing may wait."""

    def __init__(self) -> None:
        self.changed = True

    def on_partitions_revoked(self, _revoked: object) -> None:
        self.changed = True

    def on_partitions_assigned(self, _assigned: object) -> None:
        self.changed = True


class _Topic:
    """The consumer, called on its own thread only."""

    def __init__(self, settings: Settings, thread: ThreadPoolExecutor) -> None:
        self.settings = settings
        self.notes = _Notes()
        self.cluster_id = self.topic_id = ""
        self._thread = thread
        self._consumer: Any = None

    async def open(self) -> None:
        """Join the group."""
        await self._call(self._open)

    def _open(self) -> None:
        options = _options(self.settings)
        self.cluster_id, self.topic_id = _identify(self.settings.kafka_topic, options)
        self._consumer = KafkaConsumer(
            **options,
            group_id=self.settings.kafka_group,
            enable_auto_commit=False,
            # Every partition is placed by a seek before a record of it is used.
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            allow_auto_create_topics=False,
            max_poll_records=POLL_RECORDS,
            max_partition_fetch_bytes=4 * MAX_BATCH_BYTES,
            fetch_max_bytes=16 * MAX_BATCH_BYTES,
        )
        self._consumer.subscribe([self.settings.kafka_topic], listener=self.notes)

    async def close(self) -> None:
        """Leave the group."""
        if self._consumer is not None:
            await self._call(lambda: self._consumer.close(autocommit=False))

    async def poll(self) -> Mapping[int, Sequence[Any]]:
        """Records by partition."""
        polled = await self._call(lambda: self._consumer.poll(timeout_ms=POLL_MS))
        return {at.partition: records for at, records in polled.items()}

    async def log_starts(self) -> dict[int, int]:
        """The first offset the broker has, of each partition that is ours now."""

        def read() -> dict[int, int]:
            mine = list(self._consumer.assignment())
            return {at.partition: n for at, n in self._consumer.beginning_offsets(mine).items()}

        return await self._call(read)

    async def seek(self, positions: Mapping[int, int]) -> None:
        """Read on from these offsets."""

        def seek() -> None:
            for partition, offset in positions.items():
                at = self._at(partition)
                if at in self._consumer.assignment():
                    self._consumer.seek(at, offset)

        await self._call(seek)

    async def commit(self, positions: Mapping[int, int]) -> dict[int, int]:
        """Tell Kafka how far we are, for its tools; returns how far each partition is behind."""

        def commit() -> dict[int, int]:
            offsets = {
                self._at(n): OffsetAndMetadata(offset, "", -1) for n, offset in positions.items()
            }
            self._consumer.commit_async(offsets)
            ends = {n: self._consumer.highwater(self._at(n)) for n in positions}
            return {n: max(end - positions[n], 0) for n, end in ends.items() if end is not None}

        return await self._call(commit)

    def _at(self, partition: int) -> Any:
        return TopicPartition(self.settings.kafka_topic, partition)

    async def _call(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


@dataclass(slots=True)
class _Worker:
    """One stretch of work on one database connection; `positions` are where partitions stand."""

    settings: Settings
    connection: Connection
    topic: _Topic
    directory: DirectoryCache = field(default_factory=DirectoryCache)
    positions: dict[int, int] = field(default_factory=dict)
    day: date | None = None

    async def step(self) -> None:
        """Poll once and store what came."""
        await self._prepare_day()
        polled = await self.topic.poll()
        if self.topic.notes.changed:
            # What was polled across a change is polled again from where PostgreSQL stands.
            await self._place()
            return
        fresh = {n: self._fresh(n, records) for n, records in polled.items()}
        if any(fresh.values()):
            await self._store({n: records for n, records in fresh.items() if records})

    async def _prepare_day(self) -> None:
        moment = now()
        if moment.date() != self.day:
            await prepare_storage(self.connection, now=moment)
            self.day = moment.date()

    async def _place(self) -> None:
        self.topic.notes.changed = False
        starts = await self.topic.log_starts()
        self.positions = {}
        for partition, log_start in sorted(starts.items()):
            at = self._partition(partition)
            self.positions[partition] = await start_partition(
                self.connection, at, log_start=log_start
            )
        await self.topic.seek(self.positions)

    def _fresh(self, partition: int, records: Sequence[Any]) -> list[Any]:
        stands = self.positions.get(partition)
        return [] if stands is None else [r for r in records if r.offset >= stands]

    async def _store(self, fresh: Mapping[int, Sequence[Any]]) -> None:
        moves = [
            PositionMove(self._partition(n), self.positions[n], records[-1].offset + 1)
            for n, records in fresh.items()
        ]
        try:
            found = await ingest(
                self.connection,
                [_record(one) for records in fresh.values() for one in records],
                directory=self.directory,
                now=now(),
                limits=_limits(self.settings),
                moves=moves,
            )
        except PositionLostError as error:
            log.warning("%s", error)
            metrics.LOST_FENCES.inc()
            self.topic.notes.changed = True
            return
        moved = {move.partition.partition: move.next_offset for move in moves}
        self.positions |= moved
        metrics.count_outcomes(found)
        metrics.FRESHNESS.set_to_current_time()
        for partition, behind in (await self.topic.commit(moved)).items():
            metrics.LAG.labels(str(partition)).set(behind)

    def _partition(self, partition: int) -> Partition:
        topic = self.topic
        return Partition(topic.cluster_id, topic.topic_id, partition, self.settings.kafka_topic)


def _record(one: Any) -> Record:
    header, refusal = None, ""
    try:
        header = BatchHeader.from_headers(one.headers or ())
    except BatchHeaderError as error:
        refusal = str(error)
    return Record(
        body=one.value or b"",
        header=header,
        transport="kafka",
        position=f"{one.topic}/{one.partition}/{one.offset}",
        lane=one.partition % 32_768,
        refusal=refusal,
    )


def _limits(settings: Settings) -> IngestLimits:
    secret = settings.end_user_secret
    return IngestLimits(
        body_bytes_max=RECORD_BYTES_MAX,
        quarantine_days=settings.quarantine_days,
        end_user_secret=secret.get_secret_value().encode() if secret else None,
    )


def _identify(topic: str, options: Mapping[str, Any]) -> tuple[str, str]:
    """The ids of cluster and topic: a topic made anew under its old name is another one."""
    admin = KafkaAdminClient(**options)
    try:
        cluster_id = str(admin.describe_cluster()["cluster_id"])
        (described,) = admin.describe_topics([topic])
    finally:
        admin.close()
    if described["error_code"]:
        raise UnavailableError(
            f"The broker has no topic {topic} to read (error {described['error_code']}).",
            "Make the topic, or set TOKENLEDGER_KAFKA_TOPIC.",
        )
    return cluster_id, str(described["topic_id"])


def _options(settings: Settings) -> dict[str, Any]:
    password = settings.kafka_password
    return {
        "bootstrap_servers": (settings.kafka_bootstrap or "").split(","),
        "bootstrap_timeout_ms": 5_000,
        "security_protocol": settings.kafka_security_protocol,
        "sasl_mechanism": settings.kafka_sasl_mechanism,
        "sasl_plain_username": settings.kafka_username,
        "sasl_plain_password": password.get_secret_value() if password else None,
        "ssl_cafile": str(settings.kafka_ca_file) if settings.kafka_ca_file else None,
    }
