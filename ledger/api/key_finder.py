"""Finds the keys of requests: those that ask at a time are looked up by one query.

Invariant: a key is looked up after its request came, so that a revoked one is refused at once. One
that was found before is known only to who looks it up again where it reads (`session.asking`).
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ledger.flows.reference.keys import authenticate, id_of, opens
from ledger.store.keys import ApiKey
from ledger.store.queries import Pool

# Look-ups at once, each of everybody who waits for one. Senders are many and wait for more than
# that: the more of them are found by one look-up, the less they keep the others waiting.
SENDERS_LOOK_UPS_MAX, LOOK_UPS_MAX = 1, 3
# How long a request waits for one before it is told to come again.
WAIT_S = 10
KNOWN_MAX = 10_000
FutureKey: TypeAlias = "asyncio.Future[ApiKey | None]"


@dataclass(slots=True)
class KeyFinder:
    """One per process for senders, and one for everybody else."""

    pool: Pool
    look_ups_max: int = LOOK_UPS_MAX
    _known: dict[str, ApiKey] = field(default_factory=dict)
    _waiting: dict[str, FutureKey] = field(default_factory=dict)
    # Tasks are kept from being collected; those at work are counted, because one that has ended
    # is among them until its callback runs.
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    _at_work: int = 0

    def known(self, text: str) -> ApiKey | None:
        """The key of this text where it was found before; it may be revoked since."""
        key = self._known.get(id_of(text))
        return key if key is not None and opens(key, text) else None

    def forget(self, key_id: str) -> None:
        """It was refused by whoever looked it up."""
        self._known.pop(key_id, None)

    def _remember(self, keys: Iterable[ApiKey]) -> None:
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        # But for its revocation nothing of a key ever changes.
        self._known.update((key.key_id, key) for key in keys)

    async def find(self, text: str) -> ApiKey | None:
        """The key of this text, or None where it is unknown, wrong or revoked."""
        future = self._waiting.get(text)
        if future is None:
            future = self._waiting[text] = asyncio.get_running_loop().create_future()
            if self._at_work < self.look_ups_max:
                self._at_work += 1
                task = asyncio.create_task(self._work())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        # Who gives up does not take it from the others.
        async with asyncio.timeout(WAIT_S):
            return await asyncio.shield(future)

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
                self._remember(keys.values())
                for text, future in asking.items():
                    future.set_result(keys.get(text))
        self._at_work -= 1


def _fail(asking: Mapping[str, FutureKey], error: Exception) -> None:
    for future in asking.values():
        future.set_exception(error)
