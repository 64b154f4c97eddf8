"""A topic in memory, and a group whose members learn late that a partition is another's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from tests.simulation.loop import Process

POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class Polled:
    """A record as the broker's client gives it."""

    partition: int
    offset: int
    value: bytes
    topic: str = "events"
    headers: Sequence[tuple[str, bytes]] = ()


@dataclass(eq=False)
class Broker:
    """Logs that begin and end somewhere, and who was told to read which partition."""

    chance: Random
    partitions: int
    cluster_id: str = "cluster"
    topic_id: str = "topic"
    logs: dict[int, list[Polled]] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    starts: dict[int, int] = field(default_factory=dict)
    members: "list[SimulatedTopic]" = field(default_factory=list)
    again: float = 0.0

    def __post_init__(self) -> None:
        for n in range(self.partitions):
            self.logs[n], self.ends[n], self.starts[n] = [], 0, 0

    def append(self, partition: int, value: bytes) -> Polled:
        """One more record; offsets have holes where a transaction ended."""
        offset = self.ends[partition] + (
            self.chance.randint(1, 2) if self.chance.random() < 0.1 else 0
        )
        record = Polled(partition, offset, value)
        self.logs[partition].append(record)
        self.ends[partition] = offset + 1
        return record

    def truncate(self, partition: int) -> None:
        """Old records are gone, read or not."""
        log = self.logs[partition]
        if log:
            self.starts[partition] = self.chance.choice(log).offset
            self.logs[partition] = [one for one in log if one.offset >= self.starts[partition]]

    def rebalance(self) -> None:
        """Partitions are given out anew; a member hears of it when it polls."""
        members = [*self.members]
        self.chance.shuffle(members)
        for one in members:
            one.given = set()
            one.told = False
        for n in range(self.partitions if members else 0):
            members[n % len(members)].given.add(n)

    def leave(self, member: "SimulatedTopic") -> None:
        """Gone, or taken for gone."""
        if member in self.members:
            self.members.remove(member)
            self.rebalance()


class SimulatedTopic:
    """A member of the group."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self.broker, self.process = broker, process
        self.cluster_id, self.topic_id = broker.cluster_id, broker.topic_id
        self.given: set[int] = set()
        self.mine: set[int] = set()
        self.told = False
        self.changed = True
        self._at: dict[int, int] = {}

    async def open(self) -> None:
        """Join."""
        await self.process.spend(0.1)
        self.broker.members.append(self)
        self.broker.rebalance()

    async def close(self) -> None:
        """Leave."""
        await self.process.alive()
        self.broker.leave(self)

    async def poll(self, stored: Mapping[int, int]) -> Mapping[int, Sequence[Polled]]:
        """Some records of partitions that it believes to be its own, perhaps some it had before."""
        del stored
        await self.process.alive()
        broker, chance = self.broker, self.broker.chance
        if self not in broker.members:
            # Whoever was taken for gone joins again, and knows nothing of it before.
            broker.members.append(self)
            broker.rebalance()
        found = self._fetch()
        await self.process.spend(POLL_S if not found else 0.05)
        if not self.told:
            self.told, self.mine, self.changed = True, set(self.given), True
            self._at = {n: at for n, at in self._at.items() if n in self.mine}
        for n, at in self._at.items():
            if chance.random() < broker.again:
                self._at[n] = chance.randint(broker.starts[n], max(at, broker.starts[n]))
        return found

    def _fetch(self) -> dict[int, list[Polled]]:
        broker, most, found = self.broker, self.broker.chance.choice([1, 3, 10, 100]), {}
        for n in sorted(self.mine & self._at.keys()):
            # Where the log begins later by now, the client reads on from there.
            here = [one for one in broker.logs[n] if one.offset >= self._at[n]][:most]
            if here:
                found[n] = here
                self._at[n] = here[-1].offset + 1
                most -= len(here)
        return found

    def ends(self) -> Mapping[int, int]:
        """Of its partitions."""
        return {n: self.broker.ends[n] for n in self.mine}

    async def log_starts(self) -> Mapping[int, int]:
        """Of its partitions."""
        await self.process.spend(0.01)
        return {n: self.broker.starts[n] for n in self.mine}

    async def seek(self, positions: Mapping[int, int]) -> None:
        """Read on from these offsets."""
        await self.process.spend(0.01)
        self._at |= {n: at for n, at in positions.items() if n in self.mine}
