"""Bodies on their way into the books: those that wait together are stored together.

It has a loop of its own in a thread: what a batch asks of frames is done in many small pieces, and
whoever else the server answers would wait at each of them.

Invariant: what becomes of a body does not depend on whom it was stored with; a batch that cannot be
stored is tried again body by body.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from ledger import clock, metrics
from ledger.api.own_loop import beside, own_loop
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
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    record: Record
    outcome: "Future[RecordOutcome]"


@dataclass(slots=True)
class IntakeThread:
    """One per process; `loop` is where it works and where `pool` was opened."""

    pool: Pool
    directory: DirectoryCache
    limits: IngestLimits
    loop: asyncio.AbstractEventLoop
    _waiting: deque[_Waiting] = field(default_factory=deque)
    _running: set["asyncio.Task[None]"] = field(default_factory=set)
    _decoding: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def store(self, record: Record) -> RecordOutcome:
        """What became of a body; raises what `ingest` raises. Any loop may ask."""
        one = _Waiting(record, Future())
        self.loop.call_soon_threadsafe(self._come, one)
        return await asyncio.wrap_future(one.outcome)

    def _come(self, one: _Waiting) -> None:
        self._waiting.append(one)
        if len(self._running) < BATCHES_MAX:
            task = asyncio.create_task(self._work())
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def end(self) -> None:
        """Wait until what came is stored; of its own loop."""
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

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size = items = 0
        while self._waiting and size < BATCH_BYTES_MAX and items < BATCH_ITEMS_MAX:
            one = self._waiting.popleft()
            # Who gave up before is passed over; from here on nobody can.
            if not one.outcome.set_running_or_notify_cancel():
                continue
            batch.append(one)
            size += len(one.record.body)
            items += one.record.items_guessed()
        return batch

    async def _prepare(self, batch: Sequence[_Waiting]) -> Prepared:
        records = [one.record for one in batch]
        return await prepare_records(records, now=clock.now(), limits=self.limits)

    async def _store(self, batch: Sequence[_Waiting], prepared: Prepared) -> None:
        if not batch:
            return
        async with self.pool.acquire() as connection:
            outcomes = await store_prepared(
                connection, prepared, directory=self.directory, now=clock.now(), limits=self.limits
            )
        metrics.count_outcomes(outcomes, "http")
        for one, outcome in zip(batch, outcomes, strict=True):
            one.outcome.set_result(outcome)

    async def _store_each(self, batch: Sequence[_Waiting], error: Exception) -> None:
        if not is_of_content(error):
            _fail(batch, error)
            return
        for one in batch:
            try:
                await self._store([one], await self._prepare([one]))
            except Exception as own:
                await self._set_aside(one, own)

    async def _set_aside(self, one: _Waiting, error: Exception) -> None:
        """Keep a body that cannot be stored, for whoever mends what stops it."""
        if not is_of_content(error):
            _fail([one], error)
            return
        log.error("a body of %s is set aside", one.record.actor or "nobody", exc_info=error)
        letter = _Waiting(refused_whole(one.record, error), one.outcome)
        try:
            await self._store([letter], await self._prepare([letter]))
        except Exception as again:
            _fail([one], again)


def _fail(batch: Sequence[_Waiting], error: Exception) -> None:
    for one in batch:
        if not one.outcome.done():
            one.outcome.set_exception(error)


@asynccontextmanager
async def open_intake(url: str, limits: IngestLimits) -> AsyncIterator[IntakeThread]:
    """An intake with a loop and connections of its own; it ends when what it took is stored."""
    opened = AsyncExitStack()
    writers = open_pool(
        url, size=BATCHES_MAX, application="tokenledger-api-ingest", settings=WRITING
    )
    with own_loop("intake") as loop:
        pool = await beside(loop, opened.enter_async_context(writers))
        intake = IntakeThread(pool, DirectoryCache(), limits, loop)
        try:
            yield intake
        finally:
            await beside(loop, intake.end())
            await beside(loop, opened.aclose())
