"""Connections of ours, alone or from a pool, hand a COPY over at once on their own machine, and
ask nothing twice that is the same in every database."""

import os
import socket
import subprocess
import sys
from typing import Any

import asyncpg
import pytest

from ledger.store.connect import SEND_BYTES, connect, open_pool
from tests.support.database import Database


def socket_of(connection: Any) -> socket.socket:
    found: socket.socket = getattr(connection, "_con", connection)._transport.get_extra_info(
        "socket"
    )
    return found


def takes(connection: Any) -> int:
    return socket_of(connection).getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)


async def test_a_socket_on_this_machine_takes_more_than_the_kernel_gives(
    database: Database,
) -> None:
    bare = await asyncpg.connect(database.worker_url)
    family, given = socket_of(bare).family, takes(bare)
    await bare.close()
    if family != socket.AF_UNIX:
        pytest.skip("THE DATABASE IS REACHED BY TCP: local sockets are not tested on this machine")
    alone = await connect(database.worker_url)
    assert takes(alone) >= min(SEND_BYTES, 2 * given)
    await alone.close()
    async with open_pool(database.worker_url, size=1) as pool, pool.acquire() as pooled:
        assert takes(pooled) >= min(SEND_BYTES, 2 * given)


NICE = """
import asyncio, os, pathlib, sys
from ledger.store.connect import connect, open_pool
os.nice(int(sys.argv[1]))

async def tell():
    alone = await connect(sys.argv[2])
    async with open_pool(sys.argv[2], size=1) as pool, pool.acquire() as pooled:
        for one in (alone, pooled):
            print(os.getpriority(os.PRIO_PROCESS, one.get_server_pid()))
            # Where sessions share the processors, and not processes.
            shared = pathlib.Path(f"/proc/{one.get_server_pid()}/autogroup")
            print(shared.read_text().split()[-1] if shared.exists() else os.nice(0))
    await alone.close()

asyncio.run(tell())
"""


@pytest.mark.parametrize("back", [0, 5])
def test_the_process_of_a_session_stands_back_as_far_as_its_user(
    database: Database, back: int
) -> None:
    if "host=/" not in database.worker_url:
        pytest.skip("THE DATABASE IS REACHED BY TCP: local sockets are not tested on this machine")
    own = os.nice(0)
    if own < 0:
        pytest.skip("THE TESTS STAND BEFORE OTHERS: who stands back is not tested on this machine")
    asked = [sys.executable, "-c", NICE, str(back), database.worker_url]
    told = subprocess.run(asked, check=True, capture_output=True, text=True)
    assert told.stdout.split() == [str(own + back)] * 4


async def told(database: Database, query: str, *values: object) -> tuple[Any, list[str]]:
    """What a new session is answered, and all that it sends for it."""
    connection, sent = await connect(database.worker_url), list[str]()
    connection.add_query_logger(lambda one: sent.append(one.query))
    try:
        return await connection.fetchval(query, *values), sent
    finally:
        await connection.close()


async def test_what_an_array_is_is_asked_once_a_process(database: Database) -> None:
    query, rows = "SELECT $1::int8[]", [1, None, 2**62]
    await told(database, query, [])
    assert await told(database, query, rows) == (rows, [query])


async def test_what_a_database_made_itself_is_asked_by_each_session(database: Database) -> None:
    """Two databases may give one number to two types."""
    for _ in range(2):
        found, sent = await told(database, "SELECT ARRAY['USD'::currency]")
        assert (found, len(sent) > 1) == (["USD"], True)
