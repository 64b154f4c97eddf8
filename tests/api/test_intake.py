"""Bodies that wait together are stored together, and fare as if they had come alone."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from ledger import clock
from ledger.api.intake import Intake
from ledger.domain.fact import Fate
from ledger.domain.ingest.key import usage_key
from ledger.domain.ingest.record import Record
from ledger.flows.directory import DirectoryCache
from ledger.flows.ingest import prepare_storage
from ledger.flows.limits import IngestLimits
from ledger.flows.resolve import KeyCollisionError
from ledger.store.connect import open_pool
from ledger.store.ingest import insert_usage_keys
from ledger.store.queries import Connection
from tests.support.database import Database
from tests.support.usage import attempt, fates, keyed, open_books, windows, windows_of_facts


@pytest.fixture
async def intake(database: Database, worker: Connection) -> AsyncIterator[Intake]:
    await open_books(worker)
    await prepare_storage(worker, now=clock.now())
    async with open_pool(database.worker_url, size=4) as pool:
        yield Intake(pool, DirectoryCache(), IngestLimits())


async def test_each_body_has_its_own_outcome(intake: Intake, worker: Connection) -> None:
    bodies = [keyed(attempt(f"e{n}"), attempt(f"e{n}b")) for n in range(30)]
    bodies[7] = Record(b"{nothing")
    bodies[8] = keyed(attempt("e3"), attempt("new"))
    found = await asyncio.gather(*(intake.store(body) for body in bodies))
    assert [outcome.received for outcome in found] == [1 if n == 7 else 2 for n in range(30)]
    assert found[7].counts[Fate.QUARANTINED] == 1
    assert sum(outcome.counts[Fate.DUPLICATE] for outcome in found) == 1
    assert await fates(worker) == {"received": 59, "counted": 57, "duplicate": 1, "quarantined": 1}
    assert await windows(worker) == await windows_of_facts(worker)
    # Far fewer transactions than bodies: those that waited went in together.
    assert await worker.fetchval("SELECT count(DISTINCT batch_seq) FROM receipt") < 10


async def test_a_body_that_cannot_be_stored_fails_alone(intake: Intake, worker: Connection) -> None:
    row = await _key_of(intake, worker)
    other = usage_key(
        entity_id=row["entity_id"],
        customer_id="acme",
        who=("acme", "collides", "", ""),
        tier=row["tier"],
        what=("llama", "", ""),
        context_band=0,
    )
    # Another key under the same hash, as chance would have it once in a world.
    await insert_usage_keys(worker, [replace(other, model="another")])
    bodies = [keyed(attempt(f"x{n}")) for n in range(6)]
    bodies[2] = keyed(attempt("x2", project_id="collides"))
    found = await asyncio.gather(*map(intake.store, bodies), return_exceptions=True)
    assert [type(one) for n, one in enumerate(found) if n == 2] == [KeyCollisionError]
    assert [one for n, one in enumerate(found) if n != 2 and isinstance(one, BaseException)] == []


async def _key_of(intake: Intake, worker: Connection) -> "dict[str, str]":
    await intake.store(keyed(attempt("first")))
    row = await worker.fetchrow("SELECT entity_id, tier FROM usage_key")
    assert row is not None
    return dict(row)
