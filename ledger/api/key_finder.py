"""Finds the keys of requests: those that ask at a time are looked up by one query.

Invariant: a key is looked up after its request came, so that a revoked one is refused at once.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ledger.flows.reference.keys import authenticate
from ledger.store.keys import ApiKey
from ledger.store.queries import Pool

# Look-ups at once, each of everybody who waits for one.
LOOK_UPS_MAX = 4
# How long a request waits for one before it is told to come again.
WAIT_S = 10
Found: TypeAlias = "asyncio.Future[ApiKey | None]"


@dataclass(slots=True)
class KeyFinder:
    """One per process."""

    pool: Pool
    _waiting: dict[str, Found] = field(default_factory=dict)
    _running: set["asyncio.Task[None]"] = field(default_factory=set)

    async def find(self, text: str) -> ApiKey | None:
        """The key of this text, or None where it is unknown, wrong or revoked."""
        found = self._waiting.get(text)
        if found is None:
            found = self._waiting[text] = asyncio.get_running_loop().create_future()
            if len(self._running) < LOOK_UPS_MAX:
                task = asyncio.create_task(self._work())
                self._running.add(task)
                task.add_done_callback(self._running.discard)
        # Who gives up does not take it from the others.
        async with asyncio.timeout(WAIT_S):
            return await asyncio.shield(found)

    async def _work(self) -> None:
        while self._waiting:
            # Whoever comes from here on is looked up by the next query.
            asking, self._waiting = self._waiting, {}
            try:
                async with self.pool.acquire(timeout=WAIT_S) as connection:
                    keys = await authenticate(connection, asking)
            except Exception as error:
                _fail(asking, error)
            else:
                for text, found in asking.items():
                    found.set_result(keys.get(text))


def _fail(asking: Mapping[str, Found], error: Exception) -> None:
    for found in asking.values():
        found.set_exception(error)
