"""The topic, read by partitions; the position is PostgreSQL's, Kafka's serves lag tools.

The only file of the ledger that imports kafka. One thread owns the consumer from its first call to
its last.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from ledger.domain.errors import UnavailableError
from ledger.settings import Settings
from ledger.stream.portions import BATCH_BYTES, share_of
from ledger.wire.batch import MAX_BATCH_BYTES

POLL_MS = 500
FIRST_RECORDS, POLL_RECORDS_MAX = 4, 10_000
# What a broker that is away, or a group that changes, raises.
BROKER_ERRORS = (KafkaError,)
T = TypeVar("T")


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


class KafkaTopic:
    """The consumer, called on its own thread only."""

    def __init__(
        self, settings: Settings, thread: ThreadPoolExecutor, *, poll_ms: int = POLL_MS
    ) -> None:
        self._settings = settings
        self._poll_ms = poll_ms
        self._notes = _Notes()
        self.cluster_id = self.topic_id = ""
        self._thread = thread
        self._most = FIRST_RECORDS
        self._ends: Mapping[int, int | None] = {}
        self._consumer: Any = None

    async def open(self) -> None:
        """Join the group."""
        await self._call(self._open)

    def _open(self) -> None:
        options = _options(self._settings)
        self.cluster_id, self.topic_id = _identify(self._settings.kafka_topic, options)
        self._consumer = KafkaConsumer(
            **options,
            group_id=self._settings.kafka_group,
            enable_auto_commit=False,
            # Every partition is placed by a seek before a record of it is used.
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            session_timeout_ms=self._settings.kafka_session_timeout_ms,
            heartbeat_interval_ms=self._settings.kafka_session_timeout_ms // 3,
            allow_auto_create_topics=False,
            max_partition_fetch_bytes=2 * MAX_BATCH_BYTES,
            fetch_max_bytes=BATCH_BYTES,
        )
        self._notes.consumer = self._consumer
        self._consumer.subscribe([self._settings.kafka_topic], listener=self._notes)

    async def close(self) -> None:
        """Leave the group."""
        if self._consumer is not None:
            await self._call(lambda: self._consumer.close(autocommit=False))

    @property
    def changed(self) -> bool:
        """Whether partitions came or went since it was set to False."""
        return self._notes.changed

    @changed.setter
    def changed(self, changed: bool) -> None:
        self._notes.changed = changed

    async def poll(self, stored: Mapping[int, int]) -> Mapping[int, Sequence[Any]]:
        """Records by partition; tells Kafka, for its tools, how far each was `stored`."""

        def poll() -> Mapping[Any, Sequence[Any]]:
            if stored:
                offsets = {self._at(n): OffsetAndMetadata(to, "", -1) for n, to in stored.items()}
                self._consumer.commit_async(offsets)
            polled: Mapping[Any, Sequence[Any]] = self._consumer.poll(
                timeout_ms=self._poll_ms, max_records=self._most
            )
            # Only of partitions that are ours, and only here: the consumer is no other thread's.
            mine = self._consumer.assignment()
            self._ends = {at.partition: self._consumer.highwater(at) for at in mine}
            self._learn([share_of(record) for records in polled.values() for record in records])
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
        return TopicPartition(self._settings.kafka_topic, partition)

    async def _call(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


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
