"""Connections of ours, alone or from a pool, hand a COPY over at once on their own machine."""

import socket
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
