"""Reads the topic and stores what it holds; the position is PostgreSQL's, Kafka's serves lag tools.

The only file of the ledger that imports kafka. One thread owns the consumer from its first call to
its last; the event loop owns the database.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypeVar

import asyncpg
from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from ledger import metrics
from ledger.clock import now
from ledger.domain.errors import InvalidInputError, UnavailableError
from ledger.domain.metering.lines import items_guessed
from ledger.domain.metering.record import Record, RecordOutcome
from ledger.flows.metering.aside import is_of_content
from ledger.flows.metering.ingest import PositionLostError, prepare_storage
from ledger.flows.metering.limits import limits_of
from ledger.flows.metering.position import start_partition
from ledger.settings import Settings
from ledger.store.connect import WRITING, connect
from ledger.store.metering.positions import Partition, PositionMove
from ledger.stream.isolation import Isolation
from ledger.stream.pipeline import IN_FLIGHT_MAX, WRITERS, Batch, Pipeline
from ledger.wire.batch import HEADER_COUNT, MAX_BATCH_BYTES, BatchHeader
from ledger.wire.errors import BatchHeaderError

log = logging.getLogger(__name__)

POLL_MS = 500
# What a batch holds at most, unless it is one record: three of them are in memory at once, of which
# one still has its bodies. Lines are bounded by their bytes, columns by their events; events with
# ids of their own take more than others, an id and a digest each.
BATCH_BYTES, KEYED_BYTES = 28 * MAX_BATCH_BYTES, 18 * MAX_BATCH_BYTES
BATCH_EVENTS = 72_000
FIRST_RECORDS, POLL_RECORDS_MAX = 4, 10_000
_COUNT_DIGITS = 10
RETRY_S = 1
# A producer keeps to 768 KiB; what others write is read as well, within reason.
RECORD_BYTES_MAX = 16 * MAX_BATCH_BYTES
T = TypeVar("T")
_DATABASE_ERRORS = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # What is asked of a connection that was told of its end and has not ended yet.
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.LockNotAvailableError,
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
    async with AsyncExitStack() as stack:
        connections = [await connect(settings.worker_url, WRITING) for _ in range(1 + WRITERS)]
        for connection in connections:
            stack.push_async_callback(connection.close, timeout=5)
        registrar, *writers = connections
        topic = _Topic(settings, thread)
        stack.push_async_callback(topic.close)
        await topic.open()
        limits = limits_of(settings, body_bytes_max=RECORD_BYTES_MAX)
        worker = _Worker(settings, topic, Pipeline(registrar, writers, limits))
        stack.push_async_callback(worker.abandon)
        while not stop.is_set():
            await worker.step()
        await worker.finish()


async def _pause(stop: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(stop.wait(), RETRY_S)
    except TimeoutError:
        return


class _Notes(ConsumerRebalanceListener):  # type: ignore[misc]
    """Only notes that partitions came or went: it is called inside poll, where nothing may wait."""

    def __init__(self) -> None:
        self.changed = True
        self.consumer: Any = None

    def on_partitions_revoked(self, _revoked: object) -> None:
        self.changed = True
        # kafka-python 3.0.12 forgets a join whose answer comes after its poll has ended when it was
        # new partitions that led to it: no poll waits for it again, and nothing is ever read.
        self.consumer._coordinator.request_rejoin()

    def on_partitions_assigned(self, _assigned: object) -> None:
        self.changed = True


class _Topic:
    """The consumer, called on its own thread only."""

    def __init__(
        self, settings: Settings, thread: ThreadPoolExecutor, *, poll_ms: int = POLL_MS
    ) -> None:
        self.settings = settings
        self.poll_ms = poll_ms
        self.notes = _Notes()
        self.cluster_id = self.topic_id = ""
        self._thread = thread
        self._most = FIRST_RECORDS
        self._ends: Mapping[int, int | None] = {}
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
            session_timeout_ms=self.settings.kafka_session_timeout_ms,
            heartbeat_interval_ms=self.settings.kafka_session_timeout_ms // 3,
            allow_auto_create_topics=False,
            max_partition_fetch_bytes=2 * MAX_BATCH_BYTES,
            fetch_max_bytes=BATCH_BYTES,
        )
        self.notes.consumer = self._consumer
        self._consumer.subscribe([self.settings.kafka_topic], listener=self.notes)

    async def close(self) -> None:
        """Leave the group."""
        if self._consumer is not None:
            await self._call(lambda: self._consumer.close(autocommit=False))

    async def poll(self, stored: Mapping[int, int]) -> Mapping[int, Sequence[Any]]:
        """Records by partition; tells Kafka, for its tools, how far each was `stored`."""

        def poll() -> Mapping[Any, Sequence[Any]]:
            if stored:
                offsets = {self._at(n): OffsetAndMetadata(to, "", -1) for n, to in stored.items()}
                self._consumer.commit_async(offsets)
            polled: Mapping[Any, Sequence[Any]] = self._consumer.poll(
                timeout_ms=self.poll_ms, max_records=self._most
            )
            # Only of partitions that are ours, and only here: the consumer is no other thread's.
            mine = self._consumer.assignment()
            self._ends = {at.partition: self._consumer.highwater(at) for at in mine}
            self._learn([_share(one) for records in polled.values() for one in records])
            return polled

        return {at.partition: records for at, records in (await self._call(poll)).items()}

    def _learn(self, shares: Sequence[float]) -> None:
        """As many records make a batch as fill it: many small ones, or a few full ones."""
        if shares:
            fitting = int(len(shares) / max(sum(shares), 1 / POLL_RECORDS_MAX))
            self._most = min(max(fitting, 1), POLL_RECORDS_MAX)

    def ends(self) -> dict[int, int]:
        """Where the broker's log of each partition that was ours ended when it was last read."""
        return {n: end for n, end in self._ends.items() if end is not None}

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

    def _at(self, partition: int) -> Any:
        return TopicPartition(self.settings.kafka_topic, partition)

    async def _call(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


@dataclass(slots=True)
class _Worker:
    """One stretch of work; `positions` are where partitions were read to, `stored` what is new to
    Kafka, `flying` the batches that are on their way in."""

    settings: Settings
    topic: _Topic
    pipeline: Pipeline
    positions: dict[int, int] = field(default_factory=dict)
    stored: dict[int, int] = field(default_factory=dict)
    flying: deque[asyncio.Task[list[RecordOutcome]]] = field(default_factory=deque)
    moves: deque[Sequence[PositionMove]] = field(default_factory=deque)
    sizes: deque[int] = field(default_factory=deque)
    isolation: Isolation = field(default_factory=Isolation)
    day: date | None = None

    async def step(self) -> None:
        """Poll once and send on what came."""
        await self._prepare_day()
        polled = await self.topic.poll(self.stored)
        self.stored = {}
        if self.topic.notes.changed:
            # What was polled across a change is polled again from where PostgreSQL stands.
            await self.finish()
            await self._place()
            return
        fresh = {n: self._fresh(n, records) for n, records in polled.items()}
        filled = {n: records for n, records in fresh.items() if records}
        portions = deque(_portions(filled, self.isolation))
        idle = not portions
        # Bodies are laid out anew when they are decoded: whoever waits here must not keep them.
        del polled, fresh, filled
        while portions and not self._is_lost():
            self._send(portions.popleft())
            while len(self.flying) >= IN_FLIGHT_MAX:
                await self._land()
        while idle and self.flying:
            await self._land()

    def _is_lost(self) -> bool:
        """Whether partitions have to be placed anew."""
        return self.topic.notes.changed

    async def finish(self) -> None:
        """Wait until every batch is stored, or known to be lost to another worker."""
        while self.flying:
            await self._land()

    async def abandon(self) -> None:
        """Give up the batches on their way: they are read again from the stored position."""
        for task in self.flying:
            task.cancel()
        await asyncio.gather(*self.flying, return_exceptions=True)
        self.flying.clear()
        self.moves.clear()
        self.sizes.clear()

    async def _prepare_day(self) -> None:
        moment = now()
        if moment.date() != self.day:
            await prepare_storage(self.pipeline.registrar, now=moment)
            self.day = moment.date()

    async def _place(self) -> None:
        self.topic.notes.changed = False
        # What another worker reads now is behind there, not here.
        metrics.LAG.clear()
        starts = await self.topic.log_starts()
        self.positions = {}
        for partition, log_start in sorted(starts.items()):
            at = self._partition(partition)
            begins, lost = await start_partition(self.pipeline.registrar, at, log_start=log_start)
            self.positions[partition] = begins
            metrics.LOST_OFFSETS.inc(lost)
        await self.topic.seek(self.positions)

    def _fresh(self, partition: int, records: Sequence[Any]) -> list[Any]:
        stands = self.positions.get(partition)
        return [] if stands is None else [r for r in records if r.offset >= stands]

    def _send(self, fresh: Mapping[int, Sequence[Any]]) -> None:
        moves = [
            PositionMove(self._partition(n), self.positions[n], records[-1].offset + 1)
            for n, records in fresh.items()
        ]
        records = deque(
            self.isolation.judged(_record(one), n, one.offset)
            for n, records in fresh.items()
            for one in records
        )
        self.sizes.append(len(records))
        batch = Batch(records, moves, now())
        self.flying.append(self.pipeline.send(batch))
        self.moves.append(moves)
        self.positions |= {move.partition.partition: move.next_offset for move in moves}

    async def _land(self) -> None:
        """Wait for the oldest batch."""
        moves, size = self.moves.popleft(), self.sizes.popleft()
        try:
            found = await self.flying.popleft()
        except (PositionLostError, UnavailableError) as error:
            log.warning("%s", error)
            if isinstance(error, PositionLostError):
                metrics.LOST_FENCES.inc()
            await self._begin_again()
            return
        except Exception as error:
            if not is_of_content(error):
                raise
            log.error("%s records cannot be stored together", size, exc_info=error)
            upto = {move.partition.partition: move.next_offset for move in moves}
            self.isolation.narrow(upto, size, error)
            await self._begin_again()
            return
        for move in moves:
            self.stored[move.partition.partition] = move.next_offset
            self.isolation.stored(move.partition.partition, move.next_offset)
        metrics.count_outcomes(found, "kafka")
        for partition, end in self.topic.ends().items():
            if partition in self.stored:
                metrics.LAG.labels(str(partition)).set(max(end - self.stored[partition], 0))

    async def _begin_again(self) -> None:
        """Give up what is on its way, and read again from where PostgreSQL stands."""
        self.topic.notes.changed = True
        await self.abandon()
        await self.pipeline.reset()

    def _partition(self, partition: int) -> Partition:
        topic = self.topic
        return Partition(topic.cluster_id, topic.topic_id, partition, self.settings.kafka_topic)


def _portions(
    fresh: Mapping[int, Sequence[Any]], isolation: Isolation
) -> Iterator[Mapping[int, Sequence[Any]]]:
    """What was polled, cut where a batch is full: records differ, and a poll goes by the last."""
    portion, filled = dict[int, list[Any]](), 0.0
    for partition, records in fresh.items():
        for one in records:
            at_once = isolation.share(partition, one.offset)
            share = 1 / at_once if at_once else _share(one)
            if portion and filled + share > 1:
                yield portion
                portion, filled = {}, 0.0
            portion.setdefault(partition, []).append(one)
            filled += share
    if portion:
        yield portion


def _share(one: Any) -> float:
    """How much of a batch a record fills; who sends lines need not say how many events they are."""
    said, value = dict(one.headers or ()).get(HEADER_COUNT) or b"", one.value or b""
    known = said.isdigit() and len(said) < _COUNT_DIGITS
    items = int(said) if known else items_guessed(value)
    most = BATCH_BYTES if said else KEYED_BYTES
    return max(len(value) / most, items / BATCH_EVENTS)


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
        # A broker that comes back is read again at once; it doubles from a twentieth of a second.
        "reconnect_backoff_max_ms": 2_000,
        "security_protocol": settings.kafka_security_protocol,
        "sasl_mechanism": settings.kafka_sasl_mechanism,
        "sasl_plain_username": settings.kafka_username,
        "sasl_plain_password": password.get_secret_value() if password else None,
        "ssl_cafile": str(settings.kafka_ca_file) if settings.kafka_ca_file else None,
    }
