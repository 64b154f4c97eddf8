"""A real broker, and topics filled before anything is timed."""

import atexit
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from kafka import KafkaProducer

from benchmarks.events import LANES, Batch
from ledger.wire.batch import MAX_BATCH_BYTES
from tests.support.kafka import SINGLE_NODE, create_topic, make_broker

CODEC = "lz4"
SEND_SECONDS_MAX = 60
# As brokers have it by default: processes that start together share the partitions at once.
WAITING_FOR_OTHERS = {"group.initial.rebalance.delay.ms": "3000"}


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that holds `records` records of `events` events together."""

    bootstrap: str
    name: str
    records: int
    events: int

    def settings(self) -> dict[str, str]:
        """What a worker needs to read it, as a member of a group of its own."""
        return {
            "kafka_bootstrap": self.bootstrap,
            "kafka_topic": self.name,
            "kafka_group": f"bench-{uuid.uuid4().hex}",
        }


@cache
def shared_broker() -> str:
    """host:port of the broker of this process, started when first asked for."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(running_broker())


@contextmanager
def running_broker() -> Iterator[str]:
    """host:port of a broker that runs until left."""
    with tempfile.TemporaryDirectory(prefix="tokenledger-bench-kafka-") as folder:
        broker = make_broker(Path(folder), settings=SINGLE_NODE | WAITING_FOR_OTHERS)
        try:
            broker.start()
            yield broker.bootstrap
        finally:
            broker.close()


def fill(bootstrap: str, batches: Iterable[Batch]) -> Topic:
    """A new topic with these batches, lane by partition."""
    name = new_topic(bootstrap)
    sent: Counter[str] = Counter()
    with producing(bootstrap) as producer:
        for batch in batches:
            send(producer, name, batch)
            sent.update(records=1, events=batch.events)
        producer.flush(SEND_SECONDS_MAX)
    return Topic(bootstrap, name, sent["records"], sent["events"])


def new_topic(bootstrap: str) -> str:
    """A topic of one partition a lane; returns its name."""
    name = f"bench-{uuid.uuid4().hex}"
    create_topic(bootstrap, name, LANES)
    return name


@contextmanager
def producing(bootstrap: str) -> Iterator[Any]:
    """A producer as ours is set, closed on leaving."""
    producer = KafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        compression_type=CODEC,
        batch_size=MAX_BATCH_BYTES,
        linger_ms=0,
        max_request_size=MAX_BATCH_BYTES + 64 * 1024,
    )
    try:
        yield producer
    finally:
        producer.close()


def send(producer: Any, topic: str, batch: Batch) -> Any:
    """Hand one batch to the producer; returns its future."""
    headers = batch.header.to_headers() if batch.header else []
    return producer.send(topic, batch.body, headers=headers, partition=batch.lane)
