"""Two locks of different names never hold each other up, and those of one name do."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from ledger.flows.reference.parties import enter_customer
from ledger.store import stage_runs
from ledger.store.connect import connect, draw_batch_seq, draw_cut_off
from ledger.store.metering.retention import try_lock_fold
from ledger.store.queries import Connection
from ledger.wire.inputs import read_input
from ledger.wire.party_inputs import NewCustomer
from tests.flows.slow_facts import AUTHOR, enter_parties
from tests.support.database import Database

LOCKS = Path(__file__).parents[2] / "migrations" / "sql" / "locks.sql"
TAKE = "SELECT pg_advisory_xact_lock(lock_class($1::text::lock_name), $2)"
TRY = "SELECT pg_try_advisory_xact_lock(lock_class($1::text::lock_name), $2)"


@pytest.fixture
async def other(database: Database) -> AsyncIterator[Connection]:
    connection = await connect(database.worker_url)
    yield connection
    await connection.close()


async def names_of(connection: Connection) -> list[str]:
    return list(await connection.fetchval("SELECT enum_range(NULL::lock_name)::text[]"))


async def test_every_pair_of_names_is_two_locks_and_each_is_one(
    worker: Connection, other: Connection
) -> None:
    names = await names_of(worker)
    assert len(names) > 5
    for held, wanted in itertools.product(names, names):
        async with worker.transaction():
            await worker.execute(TAKE, held, 0)
            async with other.transaction():
                free = await other.fetchval(TRY, wanted, 0)
        assert free == (held != wanted), (held, wanted)


async def test_no_lock_is_taken_for_a_batch_number(worker: Connection) -> None:
    for name in await names_of(worker):
        async with worker.transaction():
            await worker.execute(TAKE, name, 1)
            space = await worker.fetchval(
                """SELECT objsubid FROM pg_locks
                    WHERE locktype = 'advisory' AND pid = pg_backend_pid()"""
            )
            before = (await draw_cut_off(worker, "test")).batch_seq
        assert space == 2
        assert before == 0


async def test_a_name_that_is_not_there_is_no_lock(worker: Connection) -> None:
    with pytest.raises(asyncpg.InvalidTextRepresentationError):
        await worker.execute("SELECT pg_advisory_lock(lock_class('flod'), 0)")


async def test_the_order_of_taking_is_written_down_for_every_name(worker: Connection) -> None:
    text = LOCKS.read_text()
    order = re.search(r"what another waits for: (.*?)\n-- batch number\.", text, re.DOTALL)
    assert order is not None
    said = re.sub(r"\([^)]*\)|\n--", " ", order[1])
    assert [name.strip() for name in said.split(",") if name.strip()] == await names_of(worker)
    for name in await names_of(worker):
        assert re.search(rf"^--   {name} ", text, re.MULTILINE), name


async def test_a_change_of_slow_facts_and_a_fold_do_not_hold_each_other_up(
    worker: Connection, other: Connection
) -> None:
    await enter_parties(worker)
    async with worker.transaction():
        new = {"customer_id": "late", "entity_id": "factory", "name": "Late"}
        await enter_customer(worker, read_input(NewCustomer, new), AUTHOR)
        async with other.transaction():
            assert await try_lock_fold(other)
    async with other.transaction():
        assert await try_lock_fold(other)
        async with asyncio.timeout(10):
            await enter_customer(worker, read_input(NewCustomer, new | {"name": "Late"}), AUTHOR)


async def test_an_unseen_cut_off_holds_up_a_fold_and_no_stage(
    worker: Connection, other: Connection
) -> None:
    async with worker.transaction():
        await draw_cut_off(worker, "test")
        async with other.transaction():
            assert not await try_lock_fold(other)
        async with asyncio.timeout(10), stage_runs.running(other, "rate"), other.transaction():
            assert await draw_batch_seq(other) > 0
