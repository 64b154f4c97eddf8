"""A cut-off waits for nobody, and nobody lands behind one."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import asyncpg
import pytest

from ledger.domain.metering.record import RecordOutcome
from ledger.flows.metering.commit_order import CommitOrder
from ledger.flows.metering.ingest import prepare_records, store_prepared
from ledger.store.connect import connect, draw_batch_seq, draw_cut_off
from ledger.store.queries import Connection
from tests.support.database import Database
from tests.support.usage import NOW, Gate, attempt, keyed, open_books
from tests.support.waiting import PATIENCE_S

WRITERS = 16
SECONDS = 1.5
ROWS = "SELECT count(*) FROM usage_delta WHERE batch_seq <= $1"
COLUMNS = (
    *("customer_id", "usage_key_id", "window_start", "batch_seq", "requests", "uncached"),
    *("cache_read", "cache_write", "visible", "reasoning"),
)
# What a batch of a session that was ended may raise.
LOST = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
LAST_NUMBER = "SELECT coalesce(pg_sequence_last_value('batch_seq'), 0)"
FACTS = "SELECT count(*) FROM usage_fact WHERE batch_seq <= $1"


@dataclass
class HeldTurn(CommitOrder):
    """Holds a batch open once its rows are copied, until it may go on."""

    copied: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def moving(self) -> None:
        """Wait."""
        self.copied.set()
        await self.go_on.wait()


@dataclass
class Held:
    """A batch that was copied and is not committed: its session, its turn, and what comes of it."""

    connection: Connection
    turn: HeldTurn
    task: "asyncio.Task[list[RecordOutcome]]"

    async def finish(self) -> None:
        """Let it commit."""
        self.turn.go_on.set()
        await self.task


@asynccontextmanager
async def held_batch(database: Database) -> AsyncIterator[Held]:
    """Two events on their way in, stopped before their commit."""
    connection = await connect(database.worker_url)
    gate, turn = Gate(connection), HeldTurn()
    sent = [keyed(attempt("slow"), attempt("slower"))]
    prepared = await prepare_records(sent, now=NOW, limits=gate.limits)
    task = asyncio.create_task(
        store_prepared(
            connection,
            prepared,
            directory=gate.directory,
            now=NOW,
            limits=gate.limits,
            order=turn,
        )
    )
    try:
        await asyncio.wait_for(turn.copied.wait(), PATIENCE_S)
        yield Held(connection, turn, task)
    finally:
        turn.go_on.set()
        with suppress(*LOST):
            await task
        await connection.close()


async def facts_seen(connection: Connection) -> tuple[int, int]:
    """A new cut-off, and how many facts it sees."""
    cut_off = await draw_cut_off(connection, "test")
    return cut_off.batch_seq, await connection.fetchval(FACTS, cut_off.batch_seq)


async def test_a_batch_held_open_across_cut_offs_is_seen_whole_by_the_first_after_it(
    worker: Connection, database: Database
) -> None:
    await open_books(worker)
    gate = Gate(worker)
    await gate.send(keyed(attempt("before")))
    async with held_batch(database) as held:
        early, seen = await asyncio.wait_for(facts_seen(worker), PATIENCE_S)
        assert seen == 1
        # Others commit meanwhile; what they bring waits with the batch that came before it.
        await asyncio.wait_for(gate.send(keyed(attempt("after"))), PATIENCE_S)
        assert await facts_seen(worker) == (early, 1)
        await held.finish()
        late, seen = await facts_seen(worker)
        assert (late > early, seen) == (True, 4)
    assert await worker.fetchval(FACTS, early) == 1, "nothing lands behind a cut-off"


async def test_ending_a_frozen_session_frees_what_waits_behind_it(
    worker: Connection, database: Database
) -> None:
    await open_books(worker)
    gate = Gate(worker)
    async with held_batch(database) as frozen:
        await gate.send(keyed(attempt("after")))
        early, seen = await facts_seen(worker)
        assert seen == 0
        operator = await connect(database.superuser_url)
        pid = frozen.connection.get_server_pid()
        assert await operator.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
        await operator.close()
        late, seen = await facts_seen(worker)
        assert (late > early, seen) == (True, 1)
        # Woken, it finds that it can commit nothing, and its events are new when sent again.
        frozen.turn.go_on.set()
        with pytest.raises(LOST):
            await frozen.task
    assert await gate.outcomes(keyed(attempt("slow"), attempt("slower"))) == ["created"] * 2


Draw = Callable[[Connection], Awaitable[int]]


async def drawn(connection: Connection) -> int:
    """A cut-off as every reader draws it."""
    return (await draw_cut_off(connection, "test")).batch_seq


async def last_number(connection: Connection) -> int:
    """What a cut-off would be if it were the last number drawn, whoever still writes."""
    return int(await connection.fetchval(LAST_NUMBER))


async def write_until(url: str, stop: asyncio.Event, seed: int) -> None:
    """Batches of a few rows, slow and fast ones, a third of them given up."""
    connection, chance = await connect(url), random.Random(seed)
    try:
        while not stop.is_set():
            transaction = connection.transaction()
            await transaction.start()
            batch_seq = await draw_batch_seq(connection)
            rows = [("acme", 1, NOW, batch_seq, 1, 1, 0, 0, 0, 0)] * chance.randrange(1, 4)
            await connection.copy_records_to_table("usage_delta", records=rows, columns=COLUMNS)
            await asyncio.sleep(chance.choice([0, 0, 0.01, 0.05]))
            await (transaction.rollback() if chance.random() < 0.3 else transaction.commit())
    finally:
        await connection.close()


async def landed_behind(worker: Connection, url: str, draw: Draw) -> dict[int, int]:
    """By cut-off, rows that came in behind it after it was drawn; 16 writers are at work."""
    stop = asyncio.Event()
    writers = [asyncio.create_task(write_until(url, stop, seed)) for seed in range(WRITERS)]
    seen: dict[int, int] = {}
    async with asyncio.timeout(PATIENCE_S):
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() - began < SECONDS or len(seen) < 20:
            cut_off = await draw(worker)
            seen.setdefault(cut_off, await worker.fetchval(ROWS, cut_off))
        stop.set()
        await asyncio.gather(*writers)
    later = {cut_off: await worker.fetchval(ROWS, cut_off) for cut_off in seen}
    assert max(later.values()) > WRITERS, "too little was written to prove anything"
    return {cut_off: later[cut_off] - seen[cut_off] for cut_off in seen}


async def test_no_batch_of_sixteen_writers_lands_behind_a_cut_off(
    worker: Connection, database: Database
) -> None:
    assert set((await landed_behind(worker, database.worker_url, drawn)).values()) == {0}


async def test_the_last_number_drawn_would_be_a_cut_off_that_batches_land_behind(
    worker: Connection, database: Database
) -> None:
    assert any((await landed_behind(worker, database.worker_url, last_number)).values())
