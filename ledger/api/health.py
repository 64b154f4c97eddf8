"""Whether the books can be read and written, asked once for all who want to know at a time.

It has a connection for each question: whatever else waits for one, these are answered. Whether the
books can be read is asked all the time: who comes while they can waits for nothing.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ledger.domain.errors import UnavailableError
from ledger.store import api_reads, standing
from ledger.store.queries import Pool

# The books are read again and again; an answer that is older than the second is none.
READ_EVERY_S, READABLE_FOR_S = 0.25, 1.0
SPILLED_FOR_S = 5
STANDING_FOR_S = 1
ANSWER_S = 2
# Each question has a connection.
CONNECTIONS = 3


T = TypeVar("T")


@dataclass(slots=True)
class Question(Generic[T]):
    """Something asked of the database, whose answer holds for `good_for_s` seconds."""

    ask: Callable[[], Awaitable[T]]
    good_for_s: float
    _asked: "asyncio.Task[T] | None" = None
    _answer: "asyncio.Task[T] | None" = None
    _answered_at: float = 0.0

    async def answered(self) -> T:
        """What `ask` gives or raises; UnavailableError where no answer comes in time."""
        fresh = time.monotonic() - self._answered_at < self.good_for_s
        if self._answer is not None and fresh:
            return self._answer.result()
        asked = self.again()
        # Who gives up does not take the answer from the others, and nobody asks twice meanwhile.
        await asyncio.wait([asked], timeout=ANSWER_S)
        if not asked.done():
            raise UnavailableError("The database does not answer in time.", "Ask again.")
        return asked.result()

    def again(self) -> "asyncio.Task[T]":
        """Ask now, where nobody has; what was answered before holds for its time meanwhile."""
        if self._asked is None or self._asked.done():
            self._asked = asyncio.create_task(self._ask())
        return self._asked

    def forget(self) -> None:
        """What was answered may not hold any more."""
        self._answer = None

    async def _ask(self) -> T:
        try:
            return await self.ask()
        finally:
            self._answer, self._answered_at = asyncio.current_task(), time.monotonic()


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

    @asynccontextmanager
    async def asked_again(self) -> AsyncIterator["Health"]:
        """It, while whether the books can be read is asked again and again."""
        asking = asyncio.create_task(self._ask_again())
        try:
            yield self
        finally:
            asking.cancel()
            await asyncio.wait([asking])

    async def _ask_again(self) -> None:
        while True:
            # Whoever comes is told what went wrong; the next question may be answered.
            await asyncio.gather(self.readable.again(), return_exceptions=True)
            await asyncio.sleep(READ_EVERY_S)

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
            # A database that goes is heard of before anybody asks.
            connection.add_termination_listener(self._forget)
            await api_reads.is_ready(connection)

    def _forget(self, _: object) -> None:
        self.readable.forget()

    async def _spill(self) -> None:
        async with self.pool.acquire() as connection:
            await api_reads.spill(connection)
