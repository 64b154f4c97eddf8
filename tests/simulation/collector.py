"""A collector's spool through power cuts, full disks, damage and a network that loses answers.

The model is what a bystander would write down: which events were promised to be kept, what the
ledger was given under which number, and which files were damaged.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import collectors.segments
import collectors.spool
from collectors.delivery import Delivery
from collectors.errors import CollectError, PublishError, SpoolError
from collectors.refused import OnRefused, RefusedEvents
from collectors.spool import Spool, SpoolLimits
from ledger.wire.batch import NDJSON, Batch
from ledger.wire.ndjson import decode_line, iter_lines
from tests.simulation.disk import Disk, PowerCut, SimulatedFcntl, SimulatedOs, SimulatedPath

FOLDER = "/spool"
STEPS = 60
Number = tuple[int, int]
LIMITS = SpoolLimits(spool_bytes=4_000, segment_bytes=400)


@dataclass(slots=True)
class Ledger:
    """Counts a batch once by its number; other content under a number is a conflict."""

    batches: dict[Number, list[int]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def take(self, batch: Batch) -> None:
        """One batch, perhaps again."""
        number = (batch.header.epoch, batch.header.sequence)
        events = [decode_line(line)["data"]["n"] for line in iter_lines(batch.body)]
        if self.batches.setdefault(number, events) != events:
            self.wrong.append(f"{number} had {self.batches[number]}, then {events}")


@dataclass(slots=True)
class Network:
    """A publisher whose requests and answers are lost by chance, and some of them doubled."""

    ledger: Ledger
    chance: Random
    trouble: float

    def publish(self, batches: Sequence[Batch], on_refused: OnRefused) -> None:  # noqa: ARG002  # the protocol's name
        """In order; an error says nothing about what arrived."""
        for batch in batches:
            if self.chance.random() < self.trouble:
                raise PublishError("refused, or lost on its way")
            self.ledger.take(batch)
            if self.chance.random() < self.trouble:
                self.ledger.take(batch)
            if self.chance.random() < self.trouble:
                raise PublishError("the answer was lost")

    def close(self) -> None:
        """Nothing is held."""


class _Named(logging.Handler):
    """Remembers the numbers that the spool says it dropped or lost."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.numbers: set[int] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Of lines that name a first and a last batch."""
        if isinstance(record.args, tuple) and "batches %d to %d" in str(record.msg):
            first, last = [n for n in record.args if isinstance(n, int)][-2:]
            self.numbers.update(range(first, last + 1))


@dataclass(slots=True)
class Found:
    """What a seed met, and what went wrong in it."""

    seed: int
    wrong: list[str]
    met: dict[str, int]


class Collector:
    """One host's life: it appends and sends, and dies and comes back."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = Random(seed)
        self.disk = Disk(chance)
        self.ledger = Ledger()
        self.network = Network(self.ledger, chance, chance.choice([0.0, 0.1, 0.4]))
        self.power, self.fault = chance.choice([0.0, 0.01, 0.05]), chance.choice([0.0, 0.02, 0.1])
        self.damages = chance.random() < 0.3
        self.named = _Named()
        self.kept: dict[Number, list[int]] = {}
        self.refused: set[int] = set()
        self.damaged: set[Number] = set()
        self.lost: set[Number] = set()
        self.met: dict[str, int] = {}
        self.mended = True
        self.epoch = 0
        self.event = 0
        self.spool: Spool | None = None

    def live(self) -> None:
        """All its steps, then a quiet time in which everything is sent."""
        actions = [self.append] * 5 + [self.send] * 4 + [self.stop, self.cut, self.fill]
        actions += [self.damage] if self.damages else []
        for _ in range(STEPS):
            self.disk.power, self.disk.fault = self.power, self.fault
            self.attempt(self.chance.choice(actions))
        self.disk.power = self.disk.fault = self.network.trouble = 0.0
        self.disk.full = False
        self.stop()
        self.attempt(self.append)
        self.attempt(self.append)
        while self.opened().state().waiting_batches:
            self.attempt(self.send)

    def attempt(self, action: Any) -> None:
        """One step, in which the power may go."""
        try:
            action()
        except PowerCut:
            self.note("power cuts")
            self.disk.crash()
            self.spool = None

    def note(self, what: str) -> None:
        """Count what was met."""
        self.met[what] = self.met.get(what, 0) + 1

    def opened(self) -> Spool:
        """The spool, opened again as often as it takes; a person does what its errors say."""
        while self.spool is None:
            try:
                self.spool = Spool(
                    SimulatedPath(self.disk, FOLDER),  # type: ignore[arg-type]
                    source="/s",
                    producer="p",
                    new_epoch=self.epoch,
                    limits=LIMITS,
                )
                self.mended = True
            except SpoolError as error:
                self.note("refused to open")
                self.disk.restart()
                self.heed(str(error))
        return self.spool

    def heed(self, error: str) -> None:
        """Move a damaged spool away, as its error asks; else try again with better luck."""
        self.disk.full = False
        self.disk.fault = 0.0
        if "away" in error:
            self.note("moved away")
            self.damaged |= self.kept.keys() - self.ledger.batches.keys()
            self.disk.entries.clear()
            self.disk.sync_names()
            self.epoch += 1

    def append(self) -> None:
        """Something was read: it is promised to be kept, or said not to be."""
        events = [self.event + n for n in range(self.chance.randint(1, 3))]
        self.event += len(events)
        spool = self.opened()
        try:
            made = spool.append([{"specversion": "1.0", "data": {"n": n}} for n in events])
        except SpoolError as error:
            self.note("appends refused")
            if "may turn up again" not in str(error):
                self.refused.update(events)
            return
        assert made == 1
        epoch, sequence = spool._next.epoch, spool.state().last_sequence
        if (epoch, sequence) in self.kept:
            self.ledger.wrong.append(f"{sequence} of epoch {epoch} was given out twice")
        self.kept[epoch, sequence] = events
        self.epoch = max(self.epoch, epoch)

    def send(self) -> None:
        """A round of the delivery."""
        refused = RefusedEvents(Path("/nothing is refused here"))
        delivery = Delivery(self.opened(), self.network, NDJSON, refused=refused)
        try:
            delivery._send_round()  # without its thread
        except PublishError:
            self.note("sends failed")
        except SpoolError as error:
            self.note("spool errors while sending")
            if "restart" in str(error):
                self.stop()
        except (CollectError, OSError):
            self.note("other errors while sending")

    def stop(self) -> None:
        """The process is killed; the machine stays."""
        self.note("restarts")
        self.disk.restart()
        self.spool = None

    def cut(self) -> None:
        """The power goes between two calls."""
        raise PowerCut

    def fill(self) -> None:
        """The disk fills up, or somebody makes room."""
        self.note("full disks")
        self.disk.full = not self.disk.full

    def damage(self) -> None:
        """While it is down a byte flips somewhere, or a file of batches is gone."""
        self.stop()
        if not self.mended:
            # The other place of a number is made again by the process that finds one damaged.
            return
        names = [n for n, one in self.disk.entries.items() if one.data and not n.endswith("lock")]
        if not names:
            return
        name = self.chance.choice(sorted(names))
        waiting = self.kept.keys() - self.ledger.batches.keys()
        self.damaged |= waiting if name.endswith(".json") else waiting & self.within(name)
        inode = self.disk.entries[name]
        if name.endswith(".seg") and self.chance.random() < 0.5:
            self.note("files lost")
            self.lost |= waiting & self.within(name)
            self.disk.link(name, None)
        else:
            self.note("bytes flipped")
            inode.data[self.chance.randrange(len(inode.data))] ^= 1 << self.chance.randrange(8)
        self.disk.sync_names()
        inode.sync()
        self.mended = False

    def within(self, name: str) -> set[Number]:
        """Batches that may lie in a file: from the number in its name to the next file's."""
        if not name.endswith(".seg"):
            return set()
        first = _first(name)
        later = [_first(n) for n in self.disk.entries if n.endswith(".seg") and _first(n) > first]
        until = min(later, default=2**63)
        return {(e, n) for e, n in self.kept if e == self.epoch and first <= n < until}

    def verdict(self) -> list[str]:
        """What went wrong."""
        wrong = list(self.ledger.wrong)
        given = [n for events in self.ledger.batches.values() for n in events]
        wrong += [f"event {n} is counted twice" for n in set(given) if given.count(n) > 1]
        wrong += [f"event {n} was refused, and sent" for n in self.refused & set(given)]
        for number, events in self.kept.items():
            there = self.ledger.batches.get(number)
            if there is not None and there != events:
                wrong.append(f"{number} was kept as {events} and came as {there}")
            if there is None and number not in self.damaged and number[1] not in self.named.numbers:
                wrong.append(f"{number} was kept and never came, and nobody said so")
        unsaid = [
            n for n in self.lost - self.ledger.batches.keys() if n[1] not in self.named.numbers
        ]
        wrong += [f"{number} was in a lost file, and nobody said so" for number in sorted(unsaid)]
        for epoch, last in self.lasts().items():
            unseen = [n for e, n in self.damaged if e == epoch and n > last]
            if epoch == self.epoch and unseen:
                wrong.append(f"{unseen} of epoch {epoch} are lost without a gap")
        return wrong

    def lasts(self) -> dict[int, int]:
        """The highest number that came, by epoch."""
        found: dict[int, int] = {}
        for epoch, number in self.ledger.batches:
            found[epoch] = max(found.get(epoch, 0), number)
        return found


def _first(name: str) -> int:
    return int(name.rsplit("/", 1)[-1].removesuffix(".seg"))


@contextmanager
def simulated(disk: Disk, named: logging.Handler) -> Iterator[None]:
    """The operating system under the spool's files is this disk."""
    log = logging.getLogger("collectors.spool")
    level, propagates = log.level, log.propagate
    log.addHandler(named)
    log.propagate = False
    try:
        with (
            patch.object(collectors.spool, "os", SimulatedOs(disk)),
            patch.object(collectors.spool, "fcntl", SimulatedFcntl()),
            patch.object(collectors.segments, "os", SimulatedOs(disk)),
        ):
            yield
    finally:
        log.removeHandler(named)
        log.setLevel(level)
        log.propagate = propagates


def run(seed: int) -> Found:
    """One seed, always the same."""
    collector = Collector(seed)
    with simulated(collector.disk, collector.named):
        collector.live()
    met = collector.met | {"events": collector.event, "batches": len(collector.ledger.batches)}
    return Found(seed, collector.verdict(), met)
