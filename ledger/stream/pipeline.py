"""Batches on their way into the books: while one is stored, the next is decoded and encoded."""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ledger.domain.ingest.prepare import Prepared
from ledger.domain.ingest.record import Record, RecordOutcome
from ledger.flows.directory import DirectoryCache
from ledger.flows.ingest import (
    IngestLimits,
    join_portions,
    lay_out,
    prepare_portion,
    resolve_prepared,
    store_prepared,
)
from ledger.flows.turn import TurnAfter
from ledger.store.positions import PositionMove
from ledger.store.queries import Connection

WRITERS = 2
# A third would wait for the interpreter, and take memory that larger batches put to better use.
IN_FLIGHT_MAX = WRITERS


@dataclass(slots=True)
class Batch:
    """What is stored at once: portions that are decoded as they come, and the moves they make."""

    now: datetime
    portions: list["asyncio.Task[Prepared]"] = field(default_factory=list)
    moves: dict[int, PositionMove] = field(default_factory=dict)

    async def sizes(self) -> list[int]:
        """How many items each portion has, once all are decoded."""
        return [len((await one).items) for one in self.portions]

    def cancel(self) -> None:
        """Give up what is not decoded yet."""
        for one in self.portions:
            one.cancel()

    def move(self, moves: Sequence[PositionMove]) -> None:
        """Move partitions on, from where the batch has moved them."""
        for move in moves:
            at = move.partition.partition
            began = self.moves[at].expected if at in self.moves else move.expected
            self.moves[at] = PositionMove(move.partition, began, move.next_offset)


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
    _last: TurnAfter | None = None
    _sent: int = 0

    def __post_init__(self) -> None:
        self._writing = [asyncio.Lock() for _ in self.writers]

    def add(
        self, batch: Batch, records: Iterable[Record], moves: Sequence[PositionMove] = ()
    ) -> None:
        """Begin to decode a portion of a batch."""
        waiting = deque(records)
        batch.portions.append(asyncio.create_task(self._decode(waiting, batch.now)))
        batch.move(moves)

    async def _decode(self, waiting: deque[Record], now: datetime) -> Prepared:
        async with self._decoding:
            items = await lay_out(_taken(waiting), limits=self.limits)
            return await prepare_portion(items, now=now, directory=self.directory)

    def send(self, batch: Batch) -> "asyncio.Task[list[RecordOutcome]]":
        """Start a batch behind those sent before; the task raises what `ingest` raises."""
        turn = TurnAfter(self._claiming, self._last)
        self._last, self._sent = turn, self._sent + 1
        task = asyncio.create_task(self._pass(batch, turn, self._sent % len(self.writers)))
        # By the task's end, not by its last line: a task cancelled early never has a first one.
        task.add_done_callback(lambda _: turn.finish())
        return task

    async def _pass(self, batch: Batch, turn: TurnAfter, writer: int) -> list[RecordOutcome]:
        async with self._encoding:
            portions = [await one for one in batch.portions]
            batch.portions.clear()
            prepared = await join_portions(portions)
            del portions
            resolved = await resolve_prepared(
                self.registrar,
                prepared,
                directory=self.directory,
                now=batch.now,
                limits=self.limits,
            )
        async with self._writing[writer]:
            return await store_prepared(
                self.writers[writer],
                prepared,
                directory=self.directory,
                now=batch.now,
                limits=self.limits,
                moves=list(batch.moves.values()),
                resolved=resolved,
                turn=turn,
            )


def _taken(waiting: deque[Record]) -> Iterator[Record]:
    """Records that nobody keeps: their bodies are laid out anew."""
    while waiting:
        yield waiting.popleft()
