"""Batches on their way into the books: while one is stored, the next is decoded and encoded."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from ledger.domain.metering.record import Record, RecordOutcome
from ledger.flows.metering.commit import Offer, commit, rehearse
from ledger.flows.metering.commit_order import CommitAfter
from ledger.store.metering.positions import PositionMove
from ledger.store.queries import Connection
from ledger.stream.memory import Heaps, give_back_compiler

WRITERS = 2
# One is decoded, one encoded and one copied; a fourth would only wait, and take memory.
IN_FLIGHT_MAX = 3
Read = TypeVar("Read")


class Stages(Protocol[Read]):
    """What becomes of records before their transaction, in two stages."""

    async def read(self, records: Iterator[Record], now: datetime) -> Read:
        """What they say; nobody keeps them."""

    async def offer(
        self, connection: Connection, read: Read, now: datetime
    ) -> Offer[list[RecordOutcome]]:
        """It made ready to be stored; `connection` registers names."""


@dataclass(frozen=True, slots=True)
class PendingBatch:
    """What was polled at once, and how far it moves each partition."""

    records: deque[Record]
    moves: Sequence[PositionMove]
    now: datetime


@dataclass(slots=True)
class Pipeline(Generic[Read]):
    """One connection registers names, the writers store in turn; batches are committed in order."""

    registrar: Connection
    writers: Sequence[Connection]
    intake: Stages[Read]
    # A lock serves who came first, so that no batch overtakes another between two steps.
    _decoding: asyncio.Lock = field(default_factory=asyncio.Lock)
    _encoding: asyncio.Lock = field(default_factory=asyncio.Lock)
    _taking_ids: asyncio.Lock = field(default_factory=asyncio.Lock)
    _writing: list[asyncio.Lock] = field(default_factory=list)
    _heaps: Heaps = field(default_factory=Heaps)
    _last: CommitAfter | None = None
    _sent: int = 0

    def __post_init__(self) -> None:
        self._writing = [asyncio.Lock() for _ in self.writers]

    @property
    def in_flight_max(self) -> int:
        """How many batches may be on their way at once: one less where memory is full."""
        return IN_FLIGHT_MAX - self._heaps.is_full

    def send(self, batch: PendingBatch) -> "asyncio.Task[list[RecordOutcome]]":
        """Start a batch behind those sent before; the task raises what `commit` raises."""
        order = CommitAfter(self._taking_ids, self._last)
        self._last, self._sent = order, self._sent + 1
        task = asyncio.create_task(self._pass(batch, order, self._sent % len(self.writers)))
        # By the task's end, not by its last line: a task cancelled early never has a first one.
        task.add_done_callback(lambda _: order.finish())
        return task

    async def rehearse(self, batch: PendingBatch) -> list[RecordOutcome]:
        """What would become of a batch, of which nothing is kept; to be called with none sent."""
        return await rehearse(self.writers[0], await self._offer(batch), moves=batch.moves)

    async def reset(self) -> None:
        """End what cancelled batches left open; to be called once they have ended themselves.

        One that was cancelled just as its transaction began has not ended it, and whatever its
        writer stored next would be part of it, and never committed.
        """
        for connection in (self.registrar, *self.writers):
            await connection.reset()

    async def _pass(
        self, batch: PendingBatch, order: CommitAfter, writer: int
    ) -> list[RecordOutcome]:
        offer = await self._offer(batch)
        async with self._writing[writer]:
            return await commit(self.writers[writer], offer, moves=batch.moves, order=order)

    async def _offer(self, batch: PendingBatch) -> Offer[list[RecordOutcome]]:
        async with self._decoding:
            read = await self.intake.read(_taken(batch.records), batch.now)
        give_back_compiler()
        self._heaps.look()
        async with self._encoding:
            offer = await self.intake.offer(self.registrar, read, batch.now)
        self._heaps.look()
        return offer


def _taken(waiting: deque[Record]) -> Iterator[Record]:
    """Records that nobody keeps: their bodies are laid out anew."""
    while waiting:
        yield waiting.popleft()
