"""Lines of days that are over go once they are booked; who asks for them has what they were."""

import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import asyncpg
import pytest

from ledger.domain.period import DAY, Period
from ledger.embedded.postgres import EmbeddedServer
from ledger.flows.books.book_cost import book_cost
from ledger.flows.books.check_books import check_books
from ledger.flows.books.check_thin_days import THIN_DAY
from ledger.flows.cost.allocate import allocate
from ledger.flows.cost.recall import recall_lines, recall_parts
from ledger.flows.cost.thin import thin
from ledger.store.connect import connect
from ledger.store.queries import Connection
from tests.flows.test_allocate_conservation import (
    END,
    random_fleet,
    random_readings,
    random_usage,
)
from tests.flows.test_cost_days import AUCKLAND_MIDNIGHT, BY_DAY, BY_WINDOW, ZONES
from tests.support.books import Books, Buyer, Tokens
from tests.support.database import fresh_database
from tests.support.one_gpu import GPU, LATER, QUARTER, START, one_gpu, steady

WHOLE = (START - DAY, START + 2 * DAY)
PERIODS = [
    WHOLE,
    (AUCKLAND_MIDNIGHT, END),
    (START - DAY, AUCKLAND_MIDNIGHT + QUARTER),
    (START + QUARTER, START + 3 * QUARTER),
]
# Of each local day that is told: all but what is not over.
OF_DAYS = """SELECT count(*) FROM cost_share s JOIN cost_day d USING (entity_id)
              WHERE s.window_start >= d.day_start AND s.window_start < d.day_end"""
ADDED = """SELECT day_start, scope, line, usage_key_id, currency, gpu_terms, sum(busy_s),
                  sum(device_metered_mj), sum(device_estimated_mj), sum(host_mj), sum(overhead_mj),
                  sum(device_cost), sum(overhead_cost), sum(gpu_cost), count(*)
             FROM cost_day_line GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6"""
REVISED = """SELECT scope, window_start, line, revision, lines, digest FROM cost_allocation
              ORDER BY 1, 2, 3, 4"""
POSTED = """SELECT e.natural_key, p.account, p.dimension, p.tier, p.model, p.currency,
                   sum(p.amount) FROM journal_entry e JOIN posting p USING (entry_id)
             GROUP BY 1, 2, 3, 4, 5, 6 HAVING sum(p.amount) <> 0 ORDER BY 1, 2, 3, 4, 5, 6"""


async def answers(connection: Connection) -> dict[object, list[tuple[object, ...]]]:
    """What is said of every period, by day and by window, at every cut-off there was."""
    last = await connection.fetchval("SELECT max(batch_seq) FROM cost_allocation")
    found: dict[object, list[tuple[object, ...]]] = {}
    for seq in (*range(0, last + 1, 3), last, 2**62):
        for since, until in PERIODS:
            await recall_parts(
                connection, entity_id="factory", since=since, until=until, batch_seq=seq
            )
            found[seq, since, until, "days"] = await _rows(connection, BY_DAY, seq, since, until)
        await recall_lines(connection, "factory", [Period(*WHOLE)], seq)
        found[seq, "windows"] = await _rows(connection, BY_WINDOW, seq, *WHOLE)
        lines = "SELECT * FROM cost_lines_at($1)"
        found[seq, "lines"] = await _rows(connection, lines, seq)
    return found


async def _rows(connection: Connection, sql: str, *given: object) -> list[tuple[object, ...]]:
    return sorted((tuple(row) for row in await connection.fetch(sql, *given)), key=str)


async def let_go(connection: Connection, *, now: datetime) -> int:
    """Book and let go; how many rows of lines are left of days that are told."""
    await book_cost(connection, now=now)
    await thin(connection, now=now)
    return int(await connection.fetchval(OF_DAYS))


async def allocate_often(connection: Connection, rng: random.Random, zone: str) -> None:
    """A fleet allocated again and again, with usage in between."""
    books = Books(connection)
    for gpu in await random_fleet(books, rng, zone=zone):
        await random_readings(books, rng, gpu)
    for now in (START + 3 * QUARTER, START + 5 * QUARTER, END + 5 * QUARTER, END, LATER + DAY):
        await random_usage(books, rng)
        await allocate(connection, now=now)


@contextmanager
def apart(server: EmbeddedServer, template: str) -> Iterator[str]:
    with fresh_database(server, template) as database:
        yield database.worker_url


@pytest.fixture
async def twin(server: EmbeddedServer, template: str) -> AsyncIterator[Connection]:
    """Another database, in which no line goes."""
    with apart(server, template) as url:
        connection = await connect(url)
        yield connection
        await connection.close()


@pytest.mark.parametrize("zone", ZONES)
async def test_what_was_let_go_is_told_as_it_was_at_every_cut_off(
    worker: Connection, zone: str
) -> None:
    await allocate_often(worker, random.Random(zone), zone)
    before = await answers(worker)
    assert await worker.fetchval(OF_DAYS) > 0
    assert await let_go(worker, now=LATER + DAY) == 0
    proofs = (await check_books(worker)).proofs
    assert not any(proofs.values()), proofs
    assert await answers(worker) == before
    proofs = (await check_books(worker)).proofs
    assert not any(proofs.values()), proofs


@pytest.mark.parametrize("seed", range(3))
async def test_what_comes_late_moves_as_much_with_and_without_lines(
    worker: Connection, twin: Connection, seed: int
) -> None:
    said = []
    for connection in (worker, twin):
        rng = random.Random(seed)
        await allocate_often(connection, rng, "UTC")
        for now in (LATER + DAY, LATER + 2 * DAY):
            if connection is worker:
                await let_go(connection, now=now)
                # What came late had the lines made again that it took the place of.
                assert not await worker.fetchval(f"{OF_DAYS} AND s.recalled_at IS NULL")
            else:
                await book_cost(connection, now=now)
            await random_usage(Books(connection), rng)
            await allocate(connection, now=now)
        await book_cost(connection, now=LATER + 2 * DAY)
        told = [await connection.fetch(sql) for sql in (ADDED, REVISED, POSTED)]
        said.append([[tuple(row) for row in rows] for rows in told])
    assert said[0] == said[1]
    proofs = (await check_books(worker)).proofs
    assert not any(proofs.values()), proofs


async def one_day(worker: Connection) -> Books:
    books = Books(worker)
    await one_gpu(books)
    await books.readings(GPU, steady(range(0, 3601, 10)))
    await books.usage(START, Tokens(uncached=100))
    await books.usage(START, Tokens(uncached=50), buyer=Buyer(agent_id="other"))
    await allocate(worker, now=LATER)
    return books


async def test_lines_stay_until_they_are_booked(worker: Connection) -> None:
    await one_day(worker)
    await thin(worker, now=LATER)
    assert await worker.fetchval(OF_DAYS) == 1
    assert await let_go(worker, now=LATER) == 0


async def test_nobody_is_told_of_a_window_without_its_lines(worker: Connection) -> None:
    await one_day(worker)
    await let_go(worker, now=LATER)
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match="deployment:chat"):
        await worker.fetch("SELECT * FROM cost_lines_at(as_it_stands())")


async def test_what_was_asked_for_stays_a_while(worker: Connection, superuser: Connection) -> None:
    await one_day(worker)
    await let_go(worker, now=LATER)
    await recall_lines(worker, "factory", [Period(START, LATER)])
    await recall_lines(worker, "factory", [Period(START, LATER)])
    # A stage looks again where something was stored.
    await Books(worker).customer("another")
    assert await let_go(worker, now=LATER) == 1
    await _days_later(superuser)
    await Books(worker).customer("third")
    assert await let_go(worker, now=LATER) == 0


async def _days_later(superuser: Connection) -> None:
    await superuser.execute(
        "SET session_replication_role = replica;"
        "UPDATE cost_share SET recalled_at = recalled_at - interval '1 day'"
    )


async def test_an_open_day_loses_no_line(worker: Connection, owner: Connection) -> None:
    await one_day(worker)
    with pytest.raises(asyncpg.RestrictViolationError, match="added up"):
        await owner.execute("UPDATE cost_share SET revision = 2")
    books = Books(worker)
    await books.owned(LATER, LATER + DAY, asset_id="more")
    await books.deployment(LATER, LATER + DAY, deployment_id="more", asset_id="more", gpus=["G"])
    await books.usage(LATER, Tokens(uncached=100))
    await allocate(worker, now=LATER + QUARTER)
    with pytest.raises(asyncpg.RestrictViolationError, match="added up"):
        await worker.execute("DELETE FROM cost_share WHERE window_start = $1", LATER)


# What somebody did to what lines are made of.
LOST: Sequence[str] = (
    "UPDATE activity SET uncached[1] = uncached[1] + 1",
    "UPDATE deployment SET gpu_uuids = '{GPU-b}'",
    "UPDATE gpu_reading SET energy_mj = energy_mj + 3 * extract(epoch FROM sampled_at)::bigint",
)


@pytest.mark.parametrize("sql", LOST)
async def test_lines_that_cannot_be_made_again_stay(
    worker: Connection, superuser: Connection, sql: str
) -> None:
    await one_day(worker)
    await superuser.execute(f"SET session_replication_role = replica; {sql}")
    await book_cost(worker, now=LATER)
    (parked,) = (await thin(worker, now=LATER)).parked
    assert "cannot be made again" in str(parked)
    assert await worker.fetchval(OF_DAYS) == 1


@pytest.mark.parametrize("sql", LOST)
async def test_a_day_whose_lines_are_not_made_again_is_named(
    worker: Connection, superuser: Connection, sql: str
) -> None:
    await one_day(worker)
    await let_go(worker, now=LATER)
    await superuser.execute(f"SET session_replication_role = replica; {sql}")
    found = await check_books(worker)
    assert found.proofs[THIN_DAY] == 1
    assert any(each.table == THIN_DAY and each.name == "lines" for each in found.differences)


async def test_a_day_that_is_not_what_its_lines_are_is_named(
    worker: Connection, superuser: Connection
) -> None:
    await one_day(worker)
    await let_go(worker, now=LATER)
    await superuser.execute(
        """SET session_replication_role = replica;
           WITH keys AS (SELECT min(usage_key_id) AS a, max(usage_key_id) AS b FROM cost_day_line
                          WHERE line = 'usage')
           UPDATE cost_day_line l
              SET gpu_cost = gpu_cost + CASE usage_key_id WHEN a THEN 1 ELSE -1 END
             FROM keys WHERE line = 'usage'"""
    )
    found = await check_books(worker)
    assert (found.proofs["cost_day"], found.proofs[THIN_DAY]) == (0, 2)
    assert {each.name for each in found.differences if each.table == THIN_DAY} == {"gpu_cost"}


async def test_where_cost_is_a_price_lines_stay(worker: Connection) -> None:
    books = await one_day(worker)
    await books.connection.execute(
        """WITH card AS (
             INSERT INTO rate_card (rate_card_id, entity_id, name, currency, batch_seq)
             VALUES ('plus', 'factory', 'Plus', 'EUR', 1))
           INSERT INTO rate_card_price (rate_card_id, meter, kind, params, valid, recorded)
           VALUES ('plus', 'cost', 'cost_plus', '{"markup": "5"}', '[2020-01-01Z,)', '[1,)')"""
    )
    assert await let_go(worker, now=LATER) == 1
