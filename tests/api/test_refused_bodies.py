"""Whoever is refused hears why, even one who sends all of a body before reading anything."""

import asyncio
import http.client
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass

import uvicorn
from litestar import Litestar

from ledger import clock
from ledger.api.app import create_app
from ledger.api.state import ApiState
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.reference.keys import create_api_key
from ledger.settings import Settings
from ledger.store.queries import Connection
from ledger.wire.inputs import NewApiKey
from tests.api.served import AUTHOR, attempt
from tests.support.database import Database

EVENTS = 3_000
PIECES = 4
# Long enough for an answer to come before the next piece goes.
PAUSE_S = 0.3


@dataclass(frozen=True, slots=True)
class Listening:
    """A served API on a port of its own, and what it holds."""

    port: int
    app: Litestar
    key: str

    def send(self, body: bytes, media_type: str) -> tuple[int, str | None, dict[str, object]]:
        """Status, Retry-After and answer to a body."""
        headers = {
            "Authorization": f"Bearer {self.key}",
            "Content-Type": media_type,
            "Content-Length": str(len(body)),
            # As urllib says: then the server closes when it has answered.
            "Connection": "close",
        }
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("POST", "/v1/events", slowly(body), headers)
            answer = connection.getresponse()
            return answer.status, answer.getheader("Retry-After"), json.loads(answer.read())


@asynccontextmanager
async def listening(database: Database, worker: Connection) -> AsyncIterator[Listening]:
    await prepare_storage(worker, now=clock.now())
    key = (await create_api_key(worker, NewApiKey(role="admin"), AUTHOR)).text
    app = create_app(Settings(worker_url=database.worker_url, api_url=database.api_url))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        await asyncio.sleep(0.02)
    try:
        yield Listening(server.servers[0].sockets[0].getsockname()[1], app, key)
    finally:
        server.should_exit = True
        await asyncio.to_thread(thread.join)


def slowly(body: bytes) -> Iterator[bytes]:
    """In pieces: its sender is in the middle of it when it is refused."""
    size = -(-len(body) // PIECES)
    for at in range(0, len(body), size):
        yield body[at : at + size]
        time.sleep(PAUSE_S)


def large() -> bytes:
    return b"\n".join(json.dumps(attempt(f"x{n}")).encode() for n in range(EVENTS))


async def test_who_sends_more_than_is_held_reads_when_to_come_again(
    database: Database, worker: Connection
) -> None:
    async with listening(database, worker) as api:
        state = api.app.state.ledger
        assert isinstance(state, ApiState)
        body = large()
        for key in ("another", "a third"):
            state.memory.take(key, state.memory.most // 2)
        refused = await asyncio.to_thread(api.send, body, "application/x-ndjson")
        for key in ("another", "a third"):
            state.memory.give(key, state.memory.most // 2)
        assert (refused[0], refused[1]) == (429, "2")
        assert await worker.fetchval("SELECT count(*) FROM receipt") == 0
        status, _, answer = await asyncio.to_thread(api.send, body, "application/x-ndjson")
        assert (status, answer["received"], state.memory.held) == (200, EVENTS, 0)


async def test_a_body_of_another_kind_is_refused_with_the_reason(
    database: Database, worker: Connection
) -> None:
    async with listening(database, worker) as api:
        status, _, answer = await asyncio.to_thread(api.send, large(), "text/csv")
    assert status == 415
    assert "text/csv" in str(answer["detail"])
