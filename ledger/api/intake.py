"""Bodies on their way into the books: those that wait together are stored together.

A server has it in a process of its own (`far_intake`): what a batch asks of frames is done in many
small pieces, and whoever else is answered would wait for the interpreter at each of them.

Invariant: what becomes of a body does not depend on whom it was stored with; a batch that cannot be
stored is tried again body by body.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from ledger import clock, metrics
from ledger.domain.metering.lines import ITEMS_MAX
from ledger.domain.metering.prepare import Prepared
from ledger.domain.metering.record import Record, RecordOutcome
from ledger.flows.metering.aside import is_of_content, refused_whole
from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.ingest import prepare_records, store_prepared
from ledger.flows.metering.limits import IngestLimits
from ledger.store.connect import WRITING, open_pool
from ledger.store.queries import Pool

BATCH_BYTES_MAX = 8 * 1024 * 1024
BATCH_ITEMS_MAX = ITEMS_MAX
BATCHES_MAX = 2
# A batch costs what so many items do: fewer wait for the one under way, and are stored together.
SEVERAL_ITEMS = 1_000
# Whoever was just answered may send the next within so long, to be stored with those that wait.
GATHER_S = 0.01
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    record: Record
    outcome: "asyncio.Future[RecordOutcome]"


@dataclass(slots=True)
class BodyIntake:
    """One per process that stores."""

    pool: Pool
    limits: IngestLimits
    directory: DirectoryCache = field(default_factory=DirectoryCache)
    _waiting: deque[_Waiting] = field(default_factory=deque)
    _items: int = 0
    # One that has ended is among the running until its callback runs, and no longer at work.
    _running: set["asyncio.Task[None]"] = field(default_factory=set)
    _at_work: int = 0
    # How many have to wait until they are stored together, and whether they do.
    _expected: int = 0
    _gathered: asyncio.Event = field(default_factory=asyncio.Event)
    _decoding: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def store(self, record: Record) -> RecordOutcome:
        """What became of a body; raises what `ingest` raises."""
        waiting = _Waiting(record, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._items += record.items_guessed()
        several = self._items >= SEVERAL_ITEMS
        if several or len(self._waiting) >= self._expected:
            self._gathered.set()
        if not self._at_work or (several and self._at_work < BATCHES_MAX):
            self._at_work += 1
            task = asyncio.create_task(self._work())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await waiting.outcome

    async def ready(self) -> None:
        """Whoever can ask is answered."""

    async def end(self) -> None:
        """Wait until what came is stored."""
        while self._running:
            await asyncio.wait(self._running)

    async def _work(self) -> None:
        while self._waiting:
            # Bodies that come while another batch is decoded are stored together: a batch costs
            # much and a body in it little.
            async with self._decoding:
                batch = self._take()
                decoding = asyncio.create_task(self._prepare(batch))
                await asyncio.wait([decoding])
            try:
                await self._store(batch, await decoding)
            except Exception as error:
                await self._store_each(batch, error)
            await self._gather(len(self._waiting) + len(batch))
        self._at_work -= 1

    async def _gather(self, senders: int) -> None:
        """Let those that were answered join those that wait."""
        if not 0 < len(self._waiting) < senders or self._items >= SEVERAL_ITEMS:
            return
        self._expected = senders
        self._gathered.clear()
        with suppress(TimeoutError):
            # One wait, and not a look now and then: a busy machine makes each wait for its turn.
            async with asyncio.timeout(GATHER_S):
                await self._gathered.wait()

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = items = 0
        while self._waiting and size < BATCH_BYTES_MAX and items < BATCH_ITEMS_MAX:
            first = self._waiting.popleft()
            guessed = first.record.items_guessed()
            self._items -= guessed
            # Who gave up before is passed over.
            if first.outcome.done():
                continue
            batch.append(first)
            size += len(first.record.body)
            items += guessed
        return batch

    async def _prepare(self, batch: Sequence[_Waiting]) -> Prepared:
        records = [waiting.record for waiting in batch]
        return await prepare_records(records, now=clock.now(), limits=self.limits)

    async def _store(self, batch: Sequence[_Waiting], prepared: Prepared) -> None:
        if not batch:
            return
        async with self.pool.acquire() as connection:
            outcomes = await store_prepared(
                connection, prepared, directory=self.directory, now=clock.now(), limits=self.limits
            )
            metrics.count_outcomes(outcomes, "http")
            # It is stored: nobody waits until the connection is given back.
            for waiting, outcome in zip(batch, outcomes, strict=True):
                if not waiting.outcome.done():
                    waiting.outcome.set_result(outcome)

    async def _store_each(self, batch: Sequence[_Waiting], error: Exception) -> None:
        if not is_of_content(error):
            _fail(batch, error)
            return
        for waiting in batch:
            try:
                await self._store([waiting], await self._prepare([waiting]))
            except Exception as own:
                await self._set_aside(waiting, own)

    async def _set_aside(self, waiting: _Waiting, error: Exception) -> None:
        """Keep a body that cannot be stored, for whoever mends what stops it."""
        if not is_of_content(error):
            _fail([waiting], error)
            return
        log.error("a body of %s is set aside", waiting.record.actor or "nobody", exc_info=error)
        letter = _Waiting(refused_whole(waiting.record, error), waiting.outcome)
        try:
            await self._store([letter], await self._prepare([letter]))
        except Exception as again:
            _fail([waiting], again)


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    for waiting in batch:
        if not waiting.outcome.done():
            waiting.outcome.set_exception(error)


@asynccontextmanager
async def open_intake(url: str, limits: IngestLimits) -> AsyncIterator[BodyIntake]:
    """An intake with connections of its own; it ends when what it took is stored."""
    writers = open_pool(
        url,
        size=BATCHES_MAX,
        application="tokenledger-api-ingest",
        settings=WRITING,
        leaves_nothing=True,
    )
    async with writers as pool:
        intake = BodyIntake(pool, limits)
        try:
            yield intake
        finally:
            await intake.end()
