"""What a fault may lay hands on, and what it says of whether it hit."""

import asyncio
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from ledger.embedded.postgres import EmbeddedServer
from ledger.store.connect import connect
from tests.support.database import Database
from tests.support.disks import Disk, small_disk
from tests.support.kafka import Broker
from tests.torture.cut_offs import AWAY, CutOffs
from tests.torture.gates import Held
from tests.torture.host import Host
from tests.torture.neighbours import Neighbours
from tests.torture.workers import Workers

PATIENCE_S = 40.0
MISSED = "MISSED"
LOOK_S = 0.05
STORED = "SELECT count(*) FROM receipt WHERE transport = 'kafka'"


@dataclass(frozen=True)
class Met:
    """A fault of a run: what it met, and whether that is all that it was meant to meet."""

    fault: str
    said: Sequence[str]

    @property
    def missed(self) -> bool:
        """It hit nothing, or not where it was meant to: then it proves less, and is no failure."""
        return not self.said or any(MISSED in one for one in self.said)


@dataclass
class Scene:
    """A run under way. `met` is what its fault said so far of whether it hit; `shares` are how many
    records come with each release."""

    seed: int
    draw: random.Random
    server: EmbeddedServer
    broker: Broker
    database: Database
    workers: Workers
    folder: str
    lanes: int
    cut_offs: CutOffs
    neighbours: Neighbours
    stack: ExitStack
    shares: deque[int] = field(default_factory=deque)
    gate: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    count: int = 0
    due: int = 0
    sent: int = 0
    met: list[str] = field(default_factory=list)
    stepped: bool = False
    collector: Host | None = None

    @cached_property
    def disk(self) -> Disk:
        """A small disk, for the spool of a host."""
        return self.stack.enter_context(small_disk(Path(self.folder, f"{self.workers.topic}-disk")))

    def host(self) -> Host:
        """The host of a collector, whose records have the partition behind all others."""
        if self.collector is None:
            self.collector = Host(
                self.disk.folder / "spool",
                self.broker.bootstrap,
                self.workers.topic,
                self.lanes,
                self.lanes + 1,
                random.Random(f"host {self.seed}"),
            )
            self.stack.callback(self.collector.end)
        return self.collector

    def release(self) -> None:
        """Let the next share of the records be sent."""
        self.neighbours.allow(max(self.count, 1))
        self.due += self.shares.popleft() if self.shares else 0
        self.gate.release()

    def note(self, hit: object, what: str) -> None:
        """A fault was meant to meet this, and did or did not."""
        self.met.append(what if hit else f"{MISSED} {what}")

    def any_worker(self) -> str:
        """One of the workers that run."""
        return self.draw.choice(sorted(self.workers.running))

    def hit(self, held: Held | None, where: str) -> str:
        """The worker held there; where none came it is any, and the fault says that it missed."""
        there = held is not None and held.name in self.workers.running
        self.note(there, where)
        return held.name if held is not None and there else self.any_worker()

    async def value(self, query: str, *arguments: Any) -> Any:
        """One value, asked as superuser on a connection of its own."""
        connection = await connect(self.database.superuser_url)
        try:
            return await connection.fetchval(query, *arguments)
        finally:
            await connection.close()

    async def until(
        self,
        done: Callable[[Any], bool],
        query: str,
        *arguments: Any,
        patience_s: float = PATIENCE_S,
    ) -> bool:
        """Ask until the answer is `done`; False where it is not in time."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            with suppress(*AWAY):
                if done(await self.value(query, *arguments)):
                    return True
            await asyncio.sleep(LOOK_S)
        return False

    async def joined(self) -> bool:
        """Wait until the group is exactly the workers that run, each with partitions of its own."""
        return await asyncio.to_thread(self._joined)

    def _joined(self) -> bool:
        end = time.monotonic() + PATIENCE_S
        admin = KafkaAdminClient(bootstrap_servers=self.broker.bootstrap)
        try:
            while time.monotonic() < end:
                # A broker that has just come back may not know yet who coordinates.
                with suppress(KafkaError):
                    if self._whole(admin.describe_groups([self.workers.group])):
                        return True
                time.sleep(LOOK_S)
        finally:
            admin.close()
        return False

    def _whole(self, described: Mapping[str, Any]) -> bool:
        group = described[self.workers.group]
        members = [member for member in group["members"] if _partitions(member)]
        whole = len(members) == len(group["members"]) == len(self.workers.running)
        return whole and group["group_state"] == "Stable"

    async def until_sent(self, records: int) -> None:
        """Wait until so many records of the run are sent."""
        end = time.monotonic() + PATIENCE_S
        while self.sent < records and time.monotonic() < end:
            await asyncio.sleep(LOOK_S / 10)

    async def settled(self) -> bool:
        """Wait until all that was sent so far is stored."""
        done = "SELECT coalesce(sum(next_offset), 0) FROM kafka_position WHERE partition < $1"
        return await self.until(lambda read: read >= self.sent > 0, done, self.lanes)

    async def stored(self) -> int:
        """How many records are in the books."""
        return int(await self.value(STORED))

    async def stored_more_than(self, before: int, *, patience_s: float = PATIENCE_S) -> bool:
        """Wait until more records than that are in the books."""
        return await self.until(lambda found: found > before, STORED, patience_s=patience_s)


def _partitions(member: Mapping[str, Any]) -> Sequence[Any]:
    assignment = member["member_assignment"]
    return assignment["assigned_partitions"] if assignment else ()
