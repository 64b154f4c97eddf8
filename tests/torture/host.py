"""A collector's host: the real spool, delivery and producer, with a partition of their own."""

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.partitioner.default import murmur2

from collectors.delivery import Delivery as Sending
from collectors.errors import SpoolError
from collectors.refused import RefusedEvents
from collectors.settings import KafkaSettings
from collectors.spool import Spool, SpoolLimits
from collectors.to_kafka import KafkaPublisher
from ledger.wire.batch import COLUMNAR, NDJSON, BatchHeader
from ledger.wire.ndjson import decode_line, iter_lines
from tests.torture.model import Attempt, Delivery
from tests.torture.sending import SEQUENCED, Sender, Sent, event_of

NUMBER_FROM, EPOCH = 3_000_000, 11
EVENTS_MAX = 12
DRAIN_S = 60.0
LIMITS = SpoolLimits(segment_bytes=24 * 1024)


class Named(logging.Handler):
    """What the spool says of batches and files that are damaged or lost."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []
        self.numbers: set[int] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line, and the numbers between the first and the last that it names."""
        self.said.append(record.getMessage())
        if isinstance(record.args, tuple) and "batches %d to %d" in str(record.msg):
            first, last = [n for n in record.args if isinstance(n, int)][-2:]
            self.numbers.update(range(first, last + 1))


@dataclass
class Host:
    """One host. `kept` is what its spool promised to keep, by number; `refused` it did not take."""

    folder: Path
    bootstrap: str
    topic: str
    partition: int
    partitions: int
    draw: random.Random
    kept: dict[int, tuple[Attempt, ...]] = field(default_factory=dict)
    refused: int = 0
    lost: set[int] = field(default_factory=set)
    named: Named = field(default_factory=Named)
    _spool: Spool | None = None
    _sender: Sender | None = None

    @property
    def producer(self) -> str:
        """A name that the broker's clients send to this host's partition."""
        names = (f"host-{n}" for n in range(1_000_000))
        return next(n for n in names if _partition_of(n, self.partitions) == self.partition)

    def open(self) -> Spool:
        """The spool, as a collector that starts finds it; SpoolError where it refuses to."""
        log = logging.getLogger("collectors.spool")
        if self.named not in log.handlers:
            log.addHandler(self.named)
            log.setLevel(logging.WARNING)
            log.propagate = False
        if self._spool is None:
            self._spool = Spool(
                self.folder,
                source=SEQUENCED,
                producer=self.producer,
                new_epoch=EPOCH,
                limits=LIMITS,
            )
        return self._spool

    def close(self) -> None:
        """The collector ends; what it kept is on its disk."""
        if self._spool is not None:
            self._spool.close()
        self._spool = None

    def append(self, batches: int) -> list[str]:
        """Read and keep so many batches; the errors of those that could not be kept."""
        self._sender = self._sender or Sender(self.draw, 1, number=NUMBER_FROM)
        spool, errors = self.open(), []
        for _ in range(batches):
            said = [
                self._sender.attempt(("host", self.partition, n))
                for n in range(self.draw.randrange(1, EVENTS_MAX))
            ]
            events = [event_of(one, "", SEQUENCED) for one in said]
            for event in events:
                del event["id"]
            try:
                made = spool.append(events)
            except SpoolError as error:
                self.refused += 1
                errors.append(str(error))
                continue
            assert made == 1
            self.kept[spool.state().last_sequence] = tuple(said)
        return errors

    def waiting(self) -> list[str]:
        """Where what waits in the spool is not what was put there; lost batches are noted."""
        there = {one.header.sequence: one for one in self.open().waiting(10**6)}
        acked = self.open().state().acked_sequence
        self.lost = {n for n in self.kept if n > acked and n not in there}
        wrong = []
        for number, batch in there.items():
            said = [_uncached(decode_line(line)) for line in iter_lines(batch.body)]
            if said != [one.uncached for one in self.kept.get(number, ())]:
                wrong.append(f"batch {number} of the spool is not what was put there")
        return wrong

    def deliver(self) -> list[str]:
        """Send all that waits, and end."""
        spool = self.open()
        settings = KafkaSettings(bootstrap=[self.bootstrap], topic=self.topic)
        encoding = self.draw.choice([COLUMNAR, NDJSON])
        refused = RefusedEvents(self.folder / "refused.ndjson")
        sending = Sending(spool, KafkaPublisher(settings), encoding, refused=refused)
        sending.start()
        sending.wake()
        sending.drain(DRAIN_S)
        left = spool.state().waiting_batches
        return [f"{left} batches of the host were not sent in {DRAIN_S} s"] if left else []

    def delivered(self) -> int:
        """How many records the broker has of it."""
        return len(read_partition(self.bootstrap, self.topic, self.partition))

    def end(self) -> None:
        """Nothing of it is left in this process."""
        self.close()
        log = logging.getLogger("collectors.spool")
        log.removeHandler(self.named)
        log.setLevel(logging.NOTSET)
        log.propagate = True

    def sent(self) -> tuple[list[Sent], set[tuple[str, int]], list[str]]:
        """What the topic really holds of this host, in order; the numbers that must be gaps; and
        what is lost that nobody named."""
        records = read_partition(self.bootstrap, self.topic, self.partition)
        found = [self._sent(body, headers) for body, headers in records]
        there = {one.said.place[2] for one in found if one.said.place is not None}
        last = max((int(n) for n in there), default=0)
        missing = {n for n in self.kept if n not in there}
        wrong = [
            f"batch {n} of the host never came, and nobody said so"
            for n in sorted(missing - self.named.numbers)
        ]
        gaps = {(f"{self.producer}/{EPOCH}", n) for n in missing if n < last}
        wrong += [f"batch {n} of the host is lost without a gap" for n in missing if n > last]
        return found, gaps, wrong

    def _sent(self, body: bytes, headers: Sequence[tuple[str, bytes]]) -> Sent:
        header = BatchHeader.from_headers(headers)
        assert header is not None
        number = header.sequence
        place = (self.producer, EPOCH, number)
        said = self.kept[number]
        return Sent(body, list(headers), self.partition, Delivery(said, 0, place))


def read_partition(
    bootstrap: str, topic: str, partition: int
) -> list[tuple[bytes, list[tuple[str, bytes]]]]:
    """Every record of a partition, read by nobody's group."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    at = TopicPartition(topic, partition)
    found = list[tuple[bytes, list[tuple[str, bytes]]]]()
    try:
        consumer.assign([at])
        end = consumer.end_offsets([at])[at]
        consumer.seek(at, 0)
        while consumer.position(at) < end:
            for record in consumer.poll(timeout_ms=500).get(at, []):
                found.append((record.value, list(record.headers)))
    finally:
        consumer.close()
    return found


def _uncached(event: dict[str, Any]) -> int:
    return int(event["data"]["usage"]["input"]["uncached"])


def _partition_of(key: str, partitions: int) -> int:
    return int((murmur2(key.encode()) & 0x7FFFFFFF) % partitions)
