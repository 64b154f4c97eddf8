"""Keys that are asked for at a time are looked up together, and never by what was known before."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from ledger.api.key_finder import KeyFinder
from ledger.flows.reference.keys import create_api_key, revoke_api_key
from ledger.store.connect import open_pool
from ledger.store.queries import Connection
from ledger.wire.inputs import NewApiKey, read_input
from tests.flows.slow_facts import AUTHOR
from tests.support.database import Database

ASKING = 200


@pytest.fixture
async def finder(database: Database) -> AsyncIterator[KeyFinder]:
    async with open_pool(database.worker_url, size=1, leaves_nothing=True) as pool:
        yield KeyFinder(pool)


async def make(worker: Connection) -> tuple[str, str]:
    made = await create_api_key(worker, read_input(NewApiKey, {"role": "admin"}), AUTHOR)
    return made.key_id, made.text


async def test_many_who_ask_at_once_are_found_by_few_queries(
    finder: KeyFinder, worker: Connection
) -> None:
    queries: list[object] = []
    keys = dict([await make(worker) for _ in range(3)])
    texts = [*keys.values(), "tlk_nobody_x"]
    async with finder.pool.acquire() as connection:
        # Of the session, which is the only one.
        connection.add_query_logger(queries.append)
    found = await asyncio.gather(*(finder.find(texts[n % 4]) for n in range(ASKING)))
    wanted = [*keys, None]
    assert [key and key.key_id for key in found] == [wanted[n % 4] for n in range(ASKING)]
    assert 0 < len(queries) < 10


async def test_who_asks_after_a_key_was_revoked_is_refused_though_others_ask_all_the_time(
    finder: KeyFinder, worker: Connection
) -> None:
    (key_id, text), (_, other) = await make(worker), await make(worker)
    stop = asyncio.Event()

    async def ask() -> None:
        while not stop.is_set():
            await finder.find(text)
            assert await finder.find(other) is not None

    asking = [asyncio.create_task(ask()) for _ in range(20)]
    await asyncio.sleep(0.05)
    assert await finder.find(text) is not None
    await revoke_api_key(worker, key_id, AUTHOR)
    assert await asyncio.gather(*(finder.find(text) for _ in range(20))) == [None] * 20
    stop.set()
    await asyncio.gather(*asking)


async def test_one_who_gives_up_takes_it_from_nobody(finder: KeyFinder, worker: Connection) -> None:
    _, text = await make(worker)
    first, second = (asyncio.create_task(finder.find(text)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second is not None
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_who_comes_as_a_look_up_ends_is_looked_up(
    finder: KeyFinder, worker: Connection
) -> None:
    _, text = await make(worker)
    one_at_a_time = KeyFinder(finder.pool, 1)
    async with asyncio.timeout(8):
        for _ in range(50):
            assert await one_at_a_time.find(text) is not None
