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

# Look-ups at once, each of everybody who waits for one. Senders are many and wait for more than
# that: the more of them are found by one look-up, the less they keep the others waiting.
SENDERS_LOOK_UPS_MAX, LOOK_UPS_MAX = 1, 3
# How long a request waits for one before it is told to come again.
WAIT_S = 10
Found: TypeAlias = "asyncio.Future[ApiKey | None]"


@dataclass(slots=True)
class KeyFinder:
    """One per process for senders, and one for everybody else."""

    pool: Pool
    look_ups_max: int = LOOK_UPS_MAX
    _waiting: dict[str, Found] = field(default_factory=dict)
    # Tasks are kept from being collected; those at work are counted, because one that has ended
    # is among them until its callback runs.
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    _at_work: int = 0

    async def find(self, text: str) -> ApiKey | None:
        """The key of this text, or None where it is unknown, wrong or revoked."""
        found = self._waiting.get(text)
        if found is None:
            found = self._waiting[text] = asyncio.get_running_loop().create_future()
            if self._at_work < self.look_ups_max:
                self._at_work += 1
                task = asyncio.create_task(self._work())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
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
        self._at_work -= 1


def _fail(asking: Mapping[str, Found], error: Exception) -> None:
    for found in asking.values():
        found.set_exception(error)
