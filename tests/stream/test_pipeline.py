"""A batch that is given up early holds up nobody behind it."""

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from ledger.flows.metering.ingest import Intake
from ledger.flows.metering.limits import IngestLimits
from ledger.settings import Settings
from ledger.store.connect import WRITING, connect
from ledger.store.metering.positions import Partition, PositionMove
from ledger.store.queries import Connection
from ledger.stream.consumer import Worker, surroundings
from ledger.stream.isolation import Isolation
from ledger.stream.pipeline import PendingBatch, Pipeline
from tests.support.database import Database
from tests.support.usage import NOW, attempt, fates, keyed, open_books
from tests.support.waiting import PATIENCE_S


async def test_a_batch_cancelled_before_it_began_lets_the_next_one_go_on(
    worker: Connection, database: Database
) -> None:
    await open_books(worker)
    writers = [await connect(database.worker_url) for _ in range(2)]
    try:
        pipeline = Pipeline(worker, writers, Intake(IngestLimits()))
        given_up = pipeline.send(PendingBatch(deque([keyed(attempt("a"))]), [], NOW))
        given_up.cancel()
        stored = pipeline.send(PendingBatch(deque([keyed(attempt("b"))]), [], NOW))
        await asyncio.wait_for(stored, PATIENCE_S)
        assert await fates(worker) == {"received": 1, "counted": 1}
    finally:
        for connection in writers:
            await connection.close()


async def test_a_transaction_cancelled_as_it_began_is_ended_when_the_position_was_lost(
    worker: Connection, database: Database
) -> None:
    await open_books(worker)
    writer = await connect(database.worker_url, WRITING)
    with ThreadPoolExecutor(1) as thread:
        pipeline = Pipeline(worker, [writer], Intake(IngestLimits()))
        around = surroundings(Settings(), thread)
        reader = Worker(around, around.topic(), pipeline, Isolation())
        # As it is left where the server began before it heard of the cancellation.
        await writer.transaction().start()
        elsewhere = PositionMove(Partition("c", "t", 0, "topic"), expected=5, next_offset=6)
        reader.moves.append([elsewhere])
        reader.sizes.append(0)
        reader.flying.append(pipeline.send(PendingBatch(deque(), [elsewhere], NOW)))
        await reader._land()
        await pipeline.send(PendingBatch(deque([keyed(attempt("a"))]), [], NOW))
        assert await fates(worker) == {"received": 1, "counted": 1}
        assert await writer.fetchval("SHOW lock_timeout") == WRITING["lock_timeout"]
    await writer.close()
