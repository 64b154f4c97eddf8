"""Whether the books can be read and written, asked once for all who want to know at a time.

It has a connection of its own: whatever else waits for one, this is answered.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ledger.domain.errors import UnavailableError
from ledger.store import api_reads, standing
from ledger.store.queries import Pool

# A load balancer asks often, and the answer does not change that fast.
READABLE_FOR_S = 0.25
SPILLED_FOR_S = 5
STANDING_FOR_S = 1
ANSWER_S = 2


T = TypeVar("T")


@dataclass(slots=True)
class Question(Generic[T]):
    """Something asked of the database, whose answer holds for `good_for_s` seconds."""

    ask: Callable[[], Awaitable[T]]
    good_for_s: float
    _asked: "asyncio.Task[T] | None" = None
    _answered_at: float = 0.0

    async def answered(self) -> T:
        """What `ask` gives or raises; UnavailableError where no answer comes in time."""
        fresh = time.monotonic() - self._answered_at < self.good_for_s
        if self._asked is None or (self._asked.done() and not fresh):
            self._asked = asyncio.create_task(self._ask())
        # Who gives up does not take the answer from the others, and nobody asks twice meanwhile.
        await asyncio.wait([self._asked], timeout=ANSWER_S)
        if not self._asked.done():
            raise UnavailableError("The database does not answer in time.", "Ask again.")
        return self._asked.result()

    async def _ask(self) -> T:
        try:
            return await self.ask()
        finally:
            self._answered_at = time.monotonic()


@dataclass(slots=True)
class Health:
    """`readable` is life itself; `writable` tells whether the database's disk has room left.

    `standing` is `work` by name, with `succeeded_at` and `failures`, and what is `parked` by stage.
    """

    pool: Pool
    readable: Question[None] = field(init=False)
    writable: Question[None] = field(init=False)
    standing: Question[dict[str, object]] = field(init=False)

    def __post_init__(self) -> None:
        self.readable = Question(self._read, READABLE_FOR_S)
        self.writable = Question(self._spill, SPILLED_FOR_S)
        self.standing = Question(self._stand, STANDING_FOR_S)

    async def _stand(self) -> dict[str, object]:
        async with self.pool.acquire() as connection:
            work = await standing.sum_work_states(connection)
            parked = await standing.count_parked(connection)
        return {
            "work": {
                each.work: {"succeeded_at": each.succeeded_at, "failures": each.failures}
                for each in work
            },
            "parked": parked,
        }

    async def _read(self) -> None:
        async with self.pool.acquire() as connection:
            await api_reads.is_ready(connection)

    async def _spill(self) -> None:
        async with self.pool.acquire() as connection:
            await api_reads.spill(connection)
