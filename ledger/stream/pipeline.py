"""Batches on their way into the books: while one is stored, the next is decoded and encoded."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ledger.domain.metering.record import Record, RecordOutcome
from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.ingest import (
    lay_out,
    prepare_laid_out,
    resolve_prepared,
    store_prepared,
    take_digests,
)
from ledger.flows.metering.limits import IngestLimits
from ledger.flows.metering.turn import TurnAfter
from ledger.store.metering.positions import PositionMove
from ledger.store.queries import Connection
from ledger.stream.memory import Heaps, give_back_compiler

WRITERS = 2
# One is decoded, one encoded and one copied; a fourth would only wait, and take memory.
IN_FLIGHT_MAX = 3


@dataclass(frozen=True, slots=True)
class Batch:
    """What was polled at once, and how far it moves each partition."""

    records: deque[Record]
    moves: Sequence[PositionMove]
    now: datetime


@dataclass(slots=True)
class Pipeline:
    """One connection registers names, the writers store in turn; batches are committed in order."""

    registrar: Connection
    writers: Sequence[Connection]
    limits: IngestLimits
    directory: DirectoryCache = field(default_factory=DirectoryCache)
    # A lock serves who came first, so that no batch overtakes another between two steps.
    _decoding: asyncio.Lock = field(default_factory=asyncio.Lock)
    _encoding: asyncio.Lock = field(default_factory=asyncio.Lock)
    _claiming: asyncio.Lock = field(default_factory=asyncio.Lock)
    _writing: list[asyncio.Lock] = field(default_factory=list)
    _heaps: Heaps = field(default_factory=Heaps)
    _last: TurnAfter | None = None
    _sent: int = 0

    def __post_init__(self) -> None:
        self._writing = [asyncio.Lock() for _ in self.writers]

    def send(self, batch: Batch) -> "asyncio.Task[list[RecordOutcome]]":
        """Start a batch behind those sent before; the task raises what `ingest` raises."""
        turn = TurnAfter(self._claiming, self._last)
        self._last, self._sent = turn, self._sent + 1
        task = asyncio.create_task(self._pass(batch, turn, self._sent % len(self.writers)))
        # By the task's end, not by its last line: a task cancelled early never has a first one.
        task.add_done_callback(lambda _: turn.finish())
        return task

    async def reset(self) -> None:
        """End what cancelled batches left open; to be called once they have ended themselves.

        One that was cancelled just as its transaction began has not ended it, and whatever its
        writer stored next would be part of it, and never committed.
        """
        for connection in (self.registrar, *self.writers):
            await connection.reset()

    async def _pass(self, batch: Batch, turn: TurnAfter, writer: int) -> list[RecordOutcome]:
        async with self._decoding:
            items = await lay_out(_taken(batch.records), limits=self.limits)
            prepared = await prepare_laid_out(
                items, now=batch.now, directory=self.directory, limits=self.limits
            )
        give_back_compiler()
        self._heaps.look()
        async with self._encoding:
            await take_digests(prepared)
            resolved = await resolve_prepared(
                self.registrar,
                prepared,
                directory=self.directory,
                now=batch.now,
                limits=self.limits,
            )
        self._heaps.look()
        async with self._writing[writer]:
            return await store_prepared(
                self.writers[writer],
                prepared,
                directory=self.directory,
                now=batch.now,
                limits=self.limits,
                moves=batch.moves,
                resolved=resolved,
                turn=turn,
            )


def _taken(waiting: deque[Record]) -> Iterator[Record]:
    """Records that nobody keeps: their bodies are laid out anew."""
    while waiting:
        yield waiting.popleft()
