"""Workers through crashes, freezes, lost answers and partitions that change hands, in one process.

What runs is the worker itself: its loop, its pipeline, the order of commit, isolation and (in some
lives) the filter of duplicates. Simulated are the broker, the database, time, and what stands in a
record. The model is a bystander's: it knows what was sent, and reads what was committed in order.
"""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from ledger.stream.consumer import Surroundings, work
from tests.simulation.broker import Broker, SimulatedTopic
from tests.simulation.connection import SimulatedConnection
from tests.simulation.database import OF_KIND, Database
from tests.simulation.loop import Process, SimulatedLoop, StuckError
from tests.simulation.records import Stages

TROUBLED_S, QUIET_S = 8, 900
# The ledger's own filter of duplicates takes ten times as long as all else.
FILTERED_EVERY = 10
BEGAN = datetime(2026, 8, 6, 23, 59, tzinfo=UTC)
# What cannot be stored: as it is read, as it is written, or because of what the database says then.
BAD = ("unreadable", *OF_KIND)


@dataclass(slots=True)
class Found:
    """What a seed met, and what went wrong in it."""

    seed: int
    wrong: list[str]
    met: dict[str, int]


@dataclass(frozen=True, slots=True)
class Sent:
    """A record as its producer knows it."""

    kind: str
    ids: Sequence[str]


class Life:
    """Some partitions, their producers and workers, and a minute of trouble."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = Random(seed)
        self.broker = Broker(chance, chance.randint(1, 3))
        self.database = Database(chance, self.broker.topic_id)
        self.sent: dict[tuple[int, int], Sent] = {}
        self.names = 0
        self.processes: list[Process] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.rate = chance.choice([1, 3, 8])
        self.bad = chance.choice([0.0, 0.05, 0.2])
        self.resent = chance.choice([0.0, 0.1, 0.4])
        self.database.mood = chance.choice([0.0, 0.0, 0.002])
        self.database.trouble = chance.choice([0.0, 0.002, 0.02])
        self.broker.again = chance.choice([0.0, 0.05])
        self.faults = chance.choice([0.0, 0.1, 0.3])
        self.truncates = chance.random() < 0.3
        self.filtered = seed % FILTERED_EVERY == 0
        self.wrong: list[str] = []

    async def live(self) -> None:
        """Trouble, then quiet until everything is stored."""
        loop = asyncio.get_running_loop()
        for _ in range(self.chance.randint(1, 3)):
            self.begin()
        while loop.time() < TROUBLED_S:
            await asyncio.sleep(self.chance.random() * 2 / self.rate)
            self.produce()
            if self.chance.random() < self.faults:
                self.chance.choice(
                    [self.kill, self.freeze, self.outage, self.restart, self.shuffle]
                )()
            if self.truncates and self.chance.random() < 0.03:
                self.note("truncations")
                self.broker.truncate(self.chance.randrange(self.broker.partitions))
        await self.quiet()

    async def quiet(self) -> None:
        """Nothing fails any more, and something still arrives: all of it has to be stored."""
        database, loop = self.database, asyncio.get_running_loop()
        database.mood = database.trouble = self.broker.again = 0.0
        while database.down or any(one.frozen_until > loop.time() for one in self.processes):
            await asyncio.sleep(1)
        if not any(not one.dead for one in self.processes):
            self.begin()
        due = dict(self.broker.ends)
        while any(database.positions.get(n, 0) < due[n] for n in due):
            if loop.time() > TROUBLED_S + QUIET_S:
                at = {n: (database.positions.get(n, 0), due[n]) for n in due}
                self.wrong.append(f"it stands still at {at}")
                break
            await asyncio.sleep(3)
            self.produce(kind="plain")
        for one in self.processes:
            one.stop.set()
        alive = [t for t, one in zip(self.tasks, self.processes, strict=True) if not one.dead]
        await asyncio.wait_for(asyncio.gather(*alive), 120)

    def note(self, what: str) -> None:
        """Count what was met."""
        self.database.note(what)

    def begin(self) -> None:
        """One more worker."""
        process = Process(f"w{len(self.processes)}", self.chance)
        loop = asyncio.get_running_loop()
        around = Surroundings(
            "events",
            topic=lambda: SimulatedTopic(self.broker, process),
            connect=lambda: SimulatedConnection.made(self.database, process),  # type: ignore[arg-type, return-value]
            intake=lambda: Stages(process, self.filtered),
            now=lambda: BEGAN + timedelta(seconds=loop.time()),
        )
        self.processes.append(process)
        task = loop.create_task(work(around, process.stop))
        task.add_done_callback(self.ended)
        self.tasks.append(task)

    def ended(self, task: "asyncio.Task[None]") -> None:
        """A worker ends when it is told to, and of nothing else."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.wrong.append(f"a worker ended of {error!r}")

    def produce(self, kind: str = "") -> None:
        """A record: of new ids, of some that came before, or one that cannot be stored."""
        chance = self.chance
        kind = kind or (chance.choice(BAD) if chance.random() < self.bad else "plain")
        known = [name for one in self.sent.values() for name in one.ids if one.kind == "plain"]
        ids = []
        for _ in range(chance.randint(1, 3)):
            if known and chance.random() < self.resent and kind == "plain":
                ids.append(chance.choice(known[-20:]))
            else:
                self.names += 1
                ids.append(f"{self.names:06}")
        sent = self.broker.append(
            chance.randrange(self.broker.partitions),
            json.dumps({"kind": kind, "ids": ids}).encode(),
        )
        self.sent[sent.partition, sent.offset] = Sent(kind, ids)

    def kill(self) -> None:
        """A process is gone in the middle of whatever it does; another takes its place, or none."""
        process = self.chance.choice(self.processes)
        if process.dead:
            return
        self.note("kills")
        process.dead = True
        loop = asyncio.get_running_loop()
        for session in [s for s in self.database.sessions if s.process is process]:
            loop.call_later(self.chance.random() * 5, session.lose)
        for member in [m for m in self.broker.members if m.process is process]:
            loop.call_later(self.chance.random() * 5, self.broker.leave, member)
        if self.chance.random() < 0.8:
            loop.call_later(self.chance.random() * 5, self.begin)

    def freeze(self) -> None:
        """A process stands still, is taken for gone, and wakes up believing what it believed."""
        process, loop = self.chance.choice(self.processes), asyncio.get_running_loop()
        if process.dead:
            return
        self.note("freezes")
        process.frozen_until = loop.time() + self.chance.choice([0.1, 3, 15]) * self.chance.random()
        for member in [m for m in self.broker.members if m.process is process]:
            if self.chance.random() < 0.5:
                self.broker.leave(member)

    def outage(self) -> None:
        """The database is away for a while."""
        self.note("outages")
        self.database.down = True
        self.database.restart()
        asyncio.get_running_loop().call_later(self.chance.random() * 8, self.back)

    def back(self) -> None:
        """It answers again."""
        self.database.down = False

    def restart(self) -> None:
        """The database ends every session."""
        self.note("database restarts")
        self.database.restart()

    def shuffle(self) -> None:
        """Partitions change hands."""
        self.note("rebalances")
        self.broker.rebalance()

    def verdict(self) -> list[str]:
        """What went wrong, from what was committed in order."""
        wrong, stands = list(self.wrong), dict.fromkeys(range(self.broker.partitions), 0)
        counted, seen = Counter[str](), dict[tuple[int, int], str]()
        for one in self.database.commits:
            due = []
            for step in one.steps:
                if step.since != stands[step.partition] or step.until <= step.since:
                    wrong.append(f"{step} where it stood at {stands[step.partition]}")
                stands[step.partition] = step.until
                lost = [g for g in one.gaps if g.partition == step.partition]
                due += [
                    (n, at)
                    for n, at in self.sent
                    if n == step.partition
                    and step.since <= at < step.until
                    and not any(g.since <= at < g.until for g in lost)
                ]
            kept = [(row.partition, row.offset) for row in one.rows]
            if sorted(kept) != sorted(due) or any(
                [at for n, at in kept if n == p] != sorted(at for n, at in kept if n == p)
                for p in stands
            ):
                wrong.append(f"{kept} were stored where {sorted(due)} were due")
            for row in one.rows:
                seen[row.partition, row.offset] = row.fate
                counted.update(row.counted)
        if stands != {n: self.database.positions.get(n, 0) for n in stands}:
            wrong.append(f"partitions stand at {self.database.positions}, and moved to {stands}")
        return wrong + self.judged(seen, counted)

    def judged(self, seen: dict[tuple[int, int], str], counted: Counter[str]) -> list[str]:
        """Every record has its fate, and every id of a stored record counts once."""
        wrong = []
        for place, fate in seen.items():
            due = "stored" if self.sent[place].kind == "plain" else "aside"
            if fate != due:
                wrong.append(f"{place} is {fate}, and was sent as {self.sent[place].kind}")
        stored = {
            n for place, fate in seen.items() if fate == "stored" for n in self.sent[place].ids
        }
        wrong += [f"{name} counts {n} times" for name, n in counted.items() if n != 1]
        wrong += [f"{name} does not count" for name in sorted(stored - counted.keys())]
        return wrong


def run(seed: int) -> Found:
    """One seed, always the same."""
    loop, life = SimulatedLoop(), Life(seed)
    logging.disable(logging.CRITICAL)
    try:
        loop.run_until_complete(life.live())
    except (StuckError, TimeoutError) as error:
        life.wrong.append(f"it hangs: {error!r}")
    finally:
        for process in life.processes:
            process.over = True
        loop.run_until_complete(_end_all())
        loop.close()
        logging.disable(logging.NOTSET)
    met = life.database.met | {"records": len(life.sent), "commits": len(life.database.commits)}
    return Found(seed, life.verdict(), met)


async def _end_all() -> None:
    """Cancel whatever is left, and what that leaves."""
    while rest := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in rest:
            task.cancel()
        await asyncio.wait(rest, timeout=1)
