"""What is on disk is answered before the connection that wrote it is given back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from ledger import clock
from ledger.api.intake import BodyIntake
from ledger.api.reservation_desk import ReservationDesk
from ledger.domain.billing.reservation import Ask
from ledger.domain.errors import NotFoundError
from ledger.domain.metering.fact import Fate
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.metering.limits import IngestLimits
from ledger.store.connect import prepare
from ledger.store.queries import Connection, Pool
from tests.support.database import Database
from tests.support.usage import attempt, keyed, open_books

AT_ONCE_S = 30


@asynccontextmanager
async def held_back(database: Database) -> AsyncIterator[Pool]:
    """A pool that takes no connection back until it is left."""
    over = asyncio.Event()

    async def hold(_: object) -> None:
        await over.wait()

    async with asyncpg.create_pool(
        database.worker_url, min_size=1, max_size=1, init=prepare, reset=hold
    ) as pool:
        try:
            yield pool
        finally:
            over.set()


async def test_a_reservation_waits_for_no_connection_to_be_given_back(database: Database) -> None:
    async with held_back(database) as pool:
        desk = ReservationDesk(pool)
        async with asyncio.timeout(AT_ONCE_S):
            with pytest.raises(NotFoundError):
                await desk.reserve(Ask("r", "nobody", {"requests": 1}, 600, "test"))


async def test_an_event_waits_for_no_connection_to_be_given_back(
    database: Database, worker: Connection
) -> None:
    await open_books(worker)
    await prepare_storage(worker, now=clock.now())
    async with held_back(database) as pool:
        intake = BodyIntake(pool, IngestLimits())
        async with asyncio.timeout(AT_ONCE_S):
            outcome = await intake.store(keyed(attempt("e")))
        assert outcome.counts[Fate.COUNTED] == 1
