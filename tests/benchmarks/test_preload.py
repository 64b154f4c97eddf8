"""History put in by the server is as ingest writes it, and what comes after still counts."""

import re
from dataclasses import replace

import pytest

from benchmarks import events, ingest
from benchmarks.events import Batch
from benchmarks.flatness import load_copies
from benchmarks.server import sql
from benchmarks.stream import check_stored
from ledger import clock
from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.ingest import prepare_storage
from ledger.store.connect import connect
from ledger.store.queries import Connection
from tests.support.database import Database
from tests.support.usage import add_customer, open_books, windows, windows_of_facts

TABLES = (
    "usage_fact",
    "event_key",
    "ingest_batch",
    "receipt",
    "usage_delta",
    "activity",
    "activity_mask",
)
COPIES = 3
BATCHES = "SELECT count(DISTINCT batch_seq) FROM usage_fact"


async def counts(connection: Connection) -> dict[str, int]:
    return {name: await connection.fetchval(f"SELECT count(*) FROM {name}") for name in TABLES}


def of_one_customer(batches: list[Batch]) -> list[Batch]:
    """The same events, all of customer c-000: entering a hundred takes longer than the test."""
    named, one = re.compile(rb'"customer_id":"c-\d+"'), b'"customer_id":"c-000"'
    return [replace(batch, body=named.sub(one, batch.body)) for batch in batches]


@pytest.mark.parametrize("form", ["sequenced", "ordered"])
async def test_a_preloaded_copy_grows_every_table_as_ingest_did(
    form: str, worker: Connection, database: Database
) -> None:
    await open_books(worker)
    await prepare_storage(worker, now=clock.now())
    await add_customer(worker, "c-000")
    make = {"sequenced": events.sequenced, "ordered": events.ordered}[form]
    batches, cache = of_one_customer(list(make(600))), DirectoryCache()
    await ingest.store(worker, batches, cache)
    once, batches_once = await counts(worker), await worker.fetchval(BATCHES)
    superuser = await connect(database.superuser_url)
    try:
        await superuser.execute(sql("preload"))
        await load_copies(database, range(1, COPIES + 1))
    finally:
        await superuser.close()
    assert await worker.fetchval(BATCHES) == batches_once * (COPIES + 1)
    assert await counts(worker) == {name: n * (COPIES + 1) for name, n in once.items()}
    assert await windows(worker) == await windows_of_facts(worker)
    await ingest.store(worker, [batch.again(101) for batch in batches], cache)
    await check_stored(database, 600 * (COPIES + 2))
    assert await windows(worker) == await windows_of_facts(worker)
