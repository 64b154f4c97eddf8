"""What a fault may lay hands on, and what it says of whether it hit."""

import asyncio
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ledger.store.connect import connect
from ledger.store.postgres import EmbeddedServer
from tests.support.database import Database
from tests.support.kafka import Broker
from tests.torture.cut_offs import AWAY
from tests.torture.gates import Held
from tests.torture.workers import PREFIX, Workers

PATIENCE_S = 20.0
# Said of a fault that did not hit where it was meant to: it proves less, and is no failure.
MISSED = "MISSED"
LOOK_S = 0.05
NAMES = "SELECT DISTINCT application_name FROM pg_stat_activity WHERE datname = current_database()"


@dataclass
class Scene:
    """A run under way. `met` says of each fault whether it hit where it was meant to."""

    seed: int
    draw: random.Random
    server: EmbeddedServer
    broker: Broker
    database: Database
    workers: Workers
    folder: str
    shares: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    sent: int = 0
    met: list[str] = field(default_factory=list)

    def release(self) -> None:
        """Let the next share of the records be sent."""
        self.shares.release()

    def any_worker(self) -> str:
        """One of the workers that run."""
        return self.draw.choice(sorted(self.workers.running))

    def hit(self, held: Held | None, where: str) -> str:
        """The worker held there; where none came it is any, and the fault says that it missed."""
        there = held is not None and held.name in self.workers.running
        self.met.append(where if there else f"{MISSED} {where}")
        return held.name if held is not None and there else self.any_worker()

    async def value(self, query: str, *arguments: Any) -> Any:
        """One value, asked as superuser on a connection of its own."""
        connection = await connect(self.database.superuser_url)
        try:
            return await connection.fetchval(query, *arguments)
        finally:
            await connection.close()

    async def until(self, done: Callable[[Any], bool], query: str, *arguments: Any) -> bool:
        """Ask until the answer is `done`; False where it is not in time."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            with suppress(*AWAY):
                if done(await self.value(query, *arguments)):
                    return True
            await asyncio.sleep(LOOK_S)
        return False

    async def joined(self) -> bool:
        """Wait until every running worker has come to the database."""
        names = f"SELECT array(SELECT n FROM ({NAMES}) t(n) WHERE starts_with(n, '{PREFIX}'))"
        return await self.until(lambda found: self.workers.running.keys() <= set(found), names)

    async def settled(self) -> bool:
        """Wait until all that was sent so far is stored."""
        done = "SELECT coalesce(sum(next_offset), 0) FROM kafka_position"
        return await self.until(lambda read: read >= self.sent > 0, done)

    async def stored(self) -> int:
        """How many records are in the books."""
        return int(await self.value("SELECT count(*) FROM receipt WHERE transport = 'kafka'"))
