"""A batch that is given up early holds up nobody behind it."""

import asyncio
from collections import deque

from ledger.flows.ingest import IngestLimits
from ledger.store.connect import connect
from ledger.store.queries import Connection
from ledger.stream.pipeline import Batch, Pipeline
from tests.support.database import Database
from tests.support.usage import NOW, attempt, fates, keyed, open_books


async def test_a_batch_cancelled_before_it_began_lets_the_next_one_go_on(
    worker: Connection, database: Database
) -> None:
    await open_books(worker)
    writers = [await connect(database.worker_url) for _ in range(2)]
    try:
        pipeline = Pipeline(worker, writers, IngestLimits())
        given_up = pipeline.send(Batch(deque([keyed(attempt("a"))]), [], NOW))
        given_up.cancel()
        stored = pipeline.send(Batch(deque([keyed(attempt("b"))]), [], NOW))
        await asyncio.wait_for(stored, 10)
        assert await fates(worker) == {"received": 1, "counted": 1}
    finally:
        for connection in writers:
            await connection.close()
