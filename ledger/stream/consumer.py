"""Reads the topic and stores what it holds: which batch, from where, and what if it fails.

The position is PostgreSQL's: whatever was not committed is read again from there.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Protocol

import asyncpg

from ledger import clock, metrics
from ledger.domain.errors import InvalidInputError, UnavailableError
from ledger.domain.metering.fact import Fate
from ledger.domain.metering.record import Record, RecordOutcome
from ledger.flows.metering.aside import is_of_content
from ledger.flows.metering.commit import PositionLostError
from ledger.flows.metering.ingest import Intake, prepare_storage
from ledger.flows.metering.limits import limits_of
from ledger.flows.metering.position import start_partition
from ledger.settings import Settings
from ledger.store.connect import WRITING, connect
from ledger.store.metering.positions import Partition, PositionMove
from ledger.store.queries import Connection
from ledger.stream.isolation import Isolation
from ledger.stream.pipeline import WRITERS, PendingBatch, Pipeline, Stages
from ledger.stream.portions import portions
from ledger.stream.topic import BROKER_ERRORS, KafkaTopic
from ledger.wire.batch import MAX_BATCH_BYTES, BatchHeader
from ledger.wire.errors import BatchHeaderError

log = logging.getLogger(__name__)

RETRY_S = 1
# The header of CloudEvents' binary mode, whose body is the data alone.
BINARY_MODE = "ce_specversion"
# A producer keeps to 768 KiB; what others write is read as well, within reason.
RECORD_BYTES_MAX = 16 * MAX_BATCH_BYTES
# Of what writes facts: what is only refused or known says little about who fails to write them.
_WRITES = (Fate.COUNTED, Fate.SUSPENSE, Fate.SUPERSEDED)
# What ends with its connection, or says that there is none.
_LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # What is asked of a connection that was told of its end and has not ended yet.
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.TooManyConnectionsError,
    OSError,
)
# What a database says that is busy, full or ill, or that one record makes so.
_REFUSED = (
    UnavailableError,
    asyncpg.LockNotAvailableError,
    asyncpg.TransactionRollbackError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InternalServerError,
    asyncpg.PostgresSystemError,
)


class Topic(Protocol):
    """What a worker reads, by partitions of which some are its own."""

    cluster_id: str
    topic_id: str
    # Whether partitions came or went since it was set to False.
    changed: bool

    async def open(self) -> None:
        """Join the group."""

    async def close(self) -> None:
        """Leave the group."""

    async def poll(self, stored: Mapping[int, int]) -> Mapping[int, Sequence[Any]]:
        """Records by partition; tells the broker, for its tools, how far each was `stored`."""

    def ends(self) -> Mapping[int, int]:
        """Where the broker's log of each partition ended when it was last read."""

    async def log_starts(self) -> Mapping[int, int]:
        """The first offset the broker has, of each partition that is ours now."""

    async def seek(self, positions: Mapping[int, int]) -> None:
        """Read on from these offsets."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a worker reaches of the world outside of it."""

    topic_name: str
    topic: Callable[[], Topic]
    connect: Callable[[], Awaitable[Connection]]
    intake: Callable[[], Stages[Any]]
    now: Callable[[], datetime]
    retry_s: float = RETRY_S


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
        await work(surroundings(settings, thread), stop)


def surroundings(settings: Settings, thread: ThreadPoolExecutor) -> Surroundings:
    """The broker and the database that the settings name; `thread` owns the broker's client."""
    limits = limits_of(settings, body_bytes_max=RECORD_BYTES_MAX)
    return Surroundings(
        settings.kafka_topic,
        topic=lambda: KafkaTopic(settings, thread),
        connect=lambda: connect(settings.worker_url or "", WRITING),
        intake=lambda: Intake(limits),
        now=clock.now,
    )


async def work(around: Surroundings, stop: asyncio.Event) -> None:
    """Begin again whenever the broker or the database went away, until `stop` is set."""
    isolation = Isolation()
    while not stop.is_set():
        try:
            await _work_once(around, isolation, stop)
        except (*_LOST, *_REFUSED, *BROKER_ERRORS) as error:
            log.warning("worker starts again in %s s: %r", around.retry_s, error)
            await _pause(around, stop)


async def _work_once(around: Surroundings, isolation: Isolation, stop: asyncio.Event) -> None:
    async with AsyncExitStack() as stack:
        connections = []
        for _ in range(1 + WRITERS):
            connections.append(await around.connect())
            stack.push_async_callback(connections[-1].close, timeout=5)
        registrar, *writers = connections
        topic = around.topic()
        stack.push_async_callback(topic.close)
        await topic.open()
        isolation.begin((topic.cluster_id, topic.topic_id))
        pipeline = Pipeline(registrar, writers, around.intake())
        worker = Worker(around, topic, pipeline, isolation)
        stack.push_async_callback(worker.abandon)
        while not stop.is_set():
            await worker.step()
            if worker.unheard():
                # Whoever fails by what goes on elsewhere gives it time.
                await _pause(around, stop)
        await worker.finish()


async def _pause(around: Surroundings, stop: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(stop.wait(), around.retry_s)
    except TimeoutError:
        return


@dataclass(slots=True)
class Worker:
    """One stretch of work; `positions` are where partitions were read to, `stored` what is new to
    Kafka, `flying` the batches that are on their way in."""

    around: Surroundings
    topic: Topic
    pipeline: Pipeline[Any]
    isolation: Isolation
    positions: dict[int, int] = field(default_factory=dict)
    stored: dict[int, int] = field(default_factory=dict)
    flying: deque[asyncio.Task[list[RecordOutcome]]] = field(default_factory=deque)
    moves: deque[Sequence[PositionMove]] = field(default_factory=deque)
    sizes: deque[int] = field(default_factory=deque)
    # Whether what is read next has nothing to do with where PostgreSQL stands.
    astray: bool = False
    day: date | None = None

    async def step(self) -> None:
        """Poll once and send on what came."""
        await self._prepare_day()
        polled = await self.topic.poll(self.stored)
        self.stored = {}
        if self._is_lost() or await self._lacks_some(polled):
            # What was polled across a change is polled again from where PostgreSQL stands.
            await self.finish()
            await self._position_of()
            return
        fresh = {n: self._fresh(n, records) for n, records in polled.items()}
        filled = {n: records for n, records in fresh.items() if records}
        if self.unheard():
            await self._hear_witness(filled)
        waiting = deque(portions(filled, self.isolation))
        idle = not waiting
        # Bodies are laid out anew when they are decoded: whoever waits here must not keep them.
        del polled, fresh, filled
        while waiting and not self._is_lost():
            self._send(waiting.popleft())
            while len(self.flying) >= self.pipeline.in_flight_max:
                await self._land()
        while idle and self.flying:
            await self._land()

    async def _lacks_some(self, polled: Mapping[int, Sequence[Any]]) -> bool:
        """Whether what is due is gone: a client reads on where the log begins, and says nothing.

        Offsets have holes as well where nothing ever was.
        """
        fresh = {n: self._fresh(n, records)[:1] for n, records in polled.items()}
        skips = [n for n, first in fresh.items() if first and first[0].offset > self.positions[n]]
        starts = await self.topic.log_starts() if skips else {}
        return any(starts.get(n, 0) > self.positions[n] for n in skips)

    def _is_lost(self) -> bool:
        """Whether partitions have to be placed anew."""
        return self.topic.changed or self.astray

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
        moment = self.around.now()
        if moment.date() != self.day:
            await prepare_storage(self.pipeline.registrar, now=moment)
            self.day = moment.date()

    async def _position_of(self) -> None:
        self.topic.changed = self.astray = False
        # What another worker reads now is behind there, not here.
        metrics.LAG.clear()
        starts = await self.topic.log_starts()
        self.positions = {}
        for partition, log_start in sorted(starts.items()):
            at = self._partition(partition)
            begins, lost = await start_partition(self.pipeline.registrar, at, log_start=log_start)
            self.positions[partition] = begins
            self.isolation.stored(partition, begins)
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
            self.isolation.judged(_record(record), n, record.offset)
            for n, records in fresh.items()
            for record in records
        )
        self.sizes.append(len(records))
        batch = PendingBatch(records, moves, self.around.now())
        self.flying.append(self.pipeline.send(batch))
        self.moves.append(moves)
        self.positions |= {move.partition.partition: move.next_offset for move in moves}

    async def _land(self) -> None:
        """Wait for the oldest batch."""
        moves, size = self.moves.popleft(), self.sizes.popleft()
        try:
            outcomes = await self.flying.popleft()
        except Exception as error:
            self._blame(error, moves, size)
            await self._begin_again()
            return
        for move in moves:
            self.stored[move.partition.partition] = move.next_offset
            self.isolation.stored(move.partition.partition, move.next_offset)
        metrics.count_outcomes(outcomes, "kafka")
        for partition, end in self.topic.ends().items():
            if partition in self.stored:
                metrics.LAG.labels(str(partition)).set(max(end - self.stored[partition], 0))

    def _blame(self, error: Exception, moves: Sequence[PositionMove], records: int) -> None:
        """Say what a batch failed of; raises what is not of the batch alone."""
        if isinstance(error, PositionLostError):
            log.warning("%s", error)
            metrics.LOST_FENCES.inc()
        elif is_of_content(error):
            log.error("%s records cannot be stored together", records, exc_info=error)
            self.isolation.narrow(moves, records, error)
        elif isinstance(error, _REFUSED):
            log.warning("%s records cannot be stored now: %r", records, error)
            self.isolation.hold(moves, records, error)
        else:
            if isinstance(error, _LOST):
                self.isolation.hold(moves, records, error)
            raise error

    def unheard(self) -> list[PositionMove]:
        """The steps of records that failed alone, while nobody knows whether another would."""
        return self.isolation.unheard(self.positions)

    async def _hear_witness(self, filled: Mapping[int, Sequence[Any]]) -> None:
        """Try others beside a record that failed alone: is it the record, or the database?"""
        await self.finish()
        moves = self.unheard()
        others = [
            record
            for partition, records in filled.items()
            for record in records
            if not self.isolation.knows(partition, record.offset)
        ]
        if not moves or not others:
            return
        for record in self.isolation.witnesses(others):
            if await self._would_store(_record(record), moves):
                self.isolation.hear(moves, stored=True)
                return
        self.isolation.hear(moves, stored=False)

    async def _would_store(self, record: Record, moves: Sequence[PositionMove]) -> bool:
        # All that is like the one that failed but its content: a partition that cannot be moved is
        # no record's fault.
        batch = PendingBatch(deque([record]), moves, self.around.now())
        try:
            outcomes = await self.pipeline.rehearse(batch)
        except Exception as error:
            if isinstance(error, (*_REFUSED, PositionLostError)) or is_of_content(error):
                return False
            self.isolation.hear(moves, stored=False)
            raise
        return any(outcome.counts[fate] for outcome in outcomes for fate in _WRITES)

    async def _begin_again(self) -> None:
        """Give up what is on its way, and read again from where PostgreSQL stands."""
        self.astray = True
        await self.abandon()
        await self.pipeline.reset()

    def _partition(self, partition: int) -> Partition:
        topic = self.topic
        return Partition(topic.cluster_id, topic.topic_id, partition, self.around.topic_name)


def _record(consumed: Any) -> Record:
    headers, body = consumed.headers or (), consumed.value or b""
    header, refusal = None, _told_binary(headers, body)
    try:
        header = BatchHeader.from_headers(headers)
    except BatchHeaderError as error:
        refusal = str(error)
    return Record(
        body=body,
        header=header,
        transport="kafka",
        position=f"{consumed.topic}/{consumed.partition}/{consumed.offset}",
        lane=consumed.partition % 32_768,
        refusal=refusal,
    )


def _told_binary(headers: Iterable[tuple[str, object]], body: bytes) -> str:
    """What is wrong with CloudEvents' binary mode; nothing where the body has the attributes, as it
    may beside headers."""
    named = any(name.lower() == BINARY_MODE for name, _ in headers)
    if not named or b'"specversion"' in body:
        return ""
    return f"{BINARY_MODE}: found attributes as headers; send structured mode, both in one object"
