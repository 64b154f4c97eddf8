"""Answers reservations: those that come at a time are held in one call of the database.

Invariant: an answer is given after its transaction is on disk; a call that fails holds nothing.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field

import asyncpg

from ledger import clock
from ledger.domain.billing.reservation import Ask, Held
from ledger.domain.errors import LedgerError, UnavailableError
from ledger.flows.billing.reserve import reserve
from ledger.store.queries import Pool

# Calls at once, and asks of one: more of either only wait for the same rows, and for each other.
CALLS_MAX, ASKS_MAX = 2, 128
TRIES = 5
# How long one waits for an answer before it is told to come again.
WAIT_S = 10


@dataclass(slots=True)
class _Waiting:
    ask: Ask
    answer: "asyncio.Future[Held]"

    @property
    def name(self) -> tuple[str, str]:
        """What no two of a call may have in common."""
        return (self.ask.customer, self.ask.reservation_id)

    def give(self, held: Held | LedgerError) -> None:
        if self.answer.done():
            return
        if isinstance(held, Held):
            self.answer.set_result(held)
        else:
            self.answer.set_exception(held)


@dataclass(slots=True)
class ReservationDesk:
    """One per process; its pool has a connection for each call at a time."""

    pool: Pool
    _waiting: deque[_Waiting] = field(default_factory=deque)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    _at_work: int = 0

    async def reserve(self, ask: Ask) -> Held:
        """What is held; raises why it is not."""
        waiting = _Waiting(ask, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._at_work < CALLS_MAX:
            self._at_work += 1
            task = asyncio.create_task(self._work())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            async with asyncio.timeout(WAIT_S):
                return await waiting.answer
        except TimeoutError:
            raise UnavailableError("Reservations wait for the database.", "Ask again.") from None

    async def _work(self) -> None:
        try:
            while asked := self._take():
                await self._answer(asked)
        finally:
            self._at_work -= 1

    def _take(self) -> list[_Waiting]:
        """The next asks whose ids differ; others stay for a later call."""
        taken: dict[tuple[str, str], _Waiting] = {}
        again: list[_Waiting] = []
        while self._waiting and len(taken) < ASKS_MAX:
            waiting = self._waiting.popleft()
            if waiting.answer.done():
                # Nobody waits for it any more, and nothing may be held for nobody.
                continue
            if waiting.name in taken:
                again.append(waiting)
            else:
                taken[waiting.name] = waiting
        self._waiting.extendleft(reversed(again))
        return list(taken.values())

    async def _answer(self, asked: list[_Waiting]) -> None:
        try:
            await self._call(asked)
        except Exception as error:
            left = [each for each in asked if not each.answer.done()]
            if len(asked) > 1:
                # What one of them brings must hold up no other.
                for each in left:
                    await self._answer([each])
            elif left:
                left[0].answer.set_exception(error)

    async def _call(self, asked: list[_Waiting]) -> None:
        asks = [each.ask for each in asked]
        for _ in range(TRIES):
            async with self.pool.acquire(timeout=WAIT_S) as connection:
                try:
                    answers = await reserve(connection, asks, now=clock.now())
                except asyncpg.SerializationError:
                    continue
                # It is on disk: nobody waits until the connection is given back.
                for each, answer in zip(asked, answers, strict=True):
                    each.give(answer)
                return
        raise UnavailableError("Others are reserving under the same ids.", "Ask again.")
