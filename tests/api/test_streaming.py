"""Files of any size: little memory, an end for who leaves or dawdles, and never a short one."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import psutil
import pytest

from ledger import clock
from ledger.api.streaming import STREAMS_OF_KEY_MAX, Streamed, while_there
from ledger.domain.author import Author
from ledger.embedded.postgres import EmbeddedServer
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.reference.keys import create_api_key
from ledger.store.connect import connect
from ledger.wire.inputs import NewApiKey
from tests.support.database import Database, execute, fresh_database, run_apart
from tests.support.ports import free_port
from tests.support.waiting import eventually
from tests.support.wide import KEYS, make_wide, period

WINDOWS = 500
ROWS = KEYS * WINDOWS
MIB = 1024 * 1024
GROWTH_MAX = 64 * MIB
START_S, NEVER_S = 60, 120
WHOLE = f"/v1/exports/usage?entity=wide&{period(WINDOWS)}"
GROUPED = f"/v1/usage?entity=wide&{period(WINDOWS)}&by=window,customer"
READING = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"


LATE = """INSERT INTO usage_delta (customer_id, usage_key_id, window_start, batch_seq, requests,
                                   uncached, cache_read, cache_write, visible, reasoning)
          SELECT customer_id, usage_key_id, window_start, nextval('batch_seq'), 5, 0, 0, 0, 0, 0
            FROM usage_delta WHERE usage_key_id = 399 LIMIT 1"""
REMOVE = """SET session_replication_role = replica; DELETE FROM usage_delta WHERE batch_seq > 1"""
# Whoever reads, whether it waits for its client just then or takes its next page.
KILL = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid()"""


@dataclass(frozen=True, slots=True)
class Wide:
    """A server as it is run, over usage of many customers."""

    database: Database
    url: str
    headers: dict[str, str]
    process: psutil.Process

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=self.headers, timeout=START_S)

    def resident(self) -> int:
        """Bytes of it and of the process beside it."""
        every = [self.process, *self.process.children(recursive=True)]
        return sum(each.memory_info().rss for each in every)

    def reading(self) -> int:
        return int(run_apart(_value(self.database.superuser_url, READING)))


async def _value(url: str, sql: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def _prepare(database: Database) -> str:
    await make_wide(database, WINDOWS)
    connection = await connect(database.worker_url)
    try:
        await prepare_storage(connection, now=clock.now())
        author = Author("cli:test", "for a test", "req-1")
        return (await create_api_key(connection, NewApiKey(role="admin"), author)).text
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def wide(server: EmbeddedServer, template: str) -> Iterator[Wide]:
    with fresh_database(server, template) as database:
        key = run_apart(_prepare(database))
        with _served(database) as (url, process):
            yield Wide(database, url, {"Authorization": f"Bearer {key}"}, process)


@contextmanager
def _served(database: Database) -> Iterator[tuple[str, psutil.Process]]:
    port = free_port()
    environment = {
        **{name: v for name, v in os.environ.items() if not name.startswith("TOKENLEDGER_")},
        "TOKENLEDGER_WORKER_URL": database.worker_url,
        "TOKENLEDGER_API_URL": database.api_url,
    }
    command = [sys.executable, "-m", "ledger.cli", "api", "--port", str(port)]
    server = subprocess.Popen(command, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: _ready(url), "it serves")
        yield url, psutil.Process(server.pid)
    finally:
        server.terminate()
        server.wait(START_S)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("path", [WHOLE, f"{GROUPED}&csv=true"], ids=["export", "report"])
def test_a_large_file_takes_little_memory(wide: Wide, path: str) -> None:
    with wide.client() as client:
        # What is loaded and kept for the first of any size is no growth.
        client.get(path.replace(period(WINDOWS), period(4)))
        before, most, lines = wide.resident(), 0, 0
        with client.stream("GET", path) as answer:
            assert answer.status_code == 200
            for number, part in enumerate(answer.iter_bytes(MIB)):
                lines += part.count(b"\r\n")
                most = max(most, wide.resident() if number % 4 == 0 else 0)
    assert lines == ROWS + 1
    assert max(most, wide.resident()) - before < GROWTH_MAX


def test_pages_are_the_whole_and_as_known_when_they_began(wide: Wide) -> None:
    asked = f"/v1/usage?entity=wide&{period(WINDOWS)}&by=customer,day&limit=900"
    with wide.client() as client:
        whole = client.get(f"{asked}&csv=true").text.splitlines()
        first = client.get(asked).json()
        run_apart(execute(wide.database.superuser_url, LATE))
        items, page = first["items"], first
        while page["next"]:
            page = client.get(f"{asked}&cursor={page['next']}").json()
            assert page["cut_off_id"] == first["cut_off_id"]
            items += page["items"]
        again = client.get(asked).json()
    assert len(items) == len(whole) - 1 == KEYS * 6
    assert [[each["customer"], each["day"]] for each in items] == [
        line.split(",")[:2] for line in whole[1:]
    ]
    assert sum(each["requests"] for each in items) == ROWS
    assert again["cut_off_id"] > first["cut_off_id"]
    run_apart(execute(wide.database.superuser_url, REMOVE))


def test_a_wrong_cursor_is_refused_by_name(wide: Wide) -> None:
    with wide.client() as client:
        for cursor in ("x", "WyJ4Il0", "WzE2NzgwLCJhIl0", "W10"):
            answer = client.get(f"{GROUPED}&cursor={cursor}")
            assert (answer.status_code, answer.json()["pointer"]) == (422, "cursor")


def test_who_leaves_lets_go_at_once_and_a_key_has_its_share(wide: Wide) -> None:
    with wide.client() as client:
        asked = client.build_request("GET", WHOLE)
        open_ones = [client.send(asked, stream=True) for _ in range(STREAMS_OF_KEY_MAX)]
        assert [each.status_code for each in open_ones] == [200] * STREAMS_OF_KEY_MAX
        # One may be taking its page just now: it waits soon.
        eventually(lambda: wide.reading() == STREAMS_OF_KEY_MAX)
        refused = client.get(WHOLE)
        assert (refused.status_code, "retry-after" in refused.headers) == (429, True)
        assert client.get(f"{GROUPED}&limit=1").status_code == 200
        for each in open_ones:
            each.close()
        eventually(lambda: wide.reading() == 0)
        # The key has its share back a moment after the database has its connection.
        eventually(lambda: _begins(client))


def _begins(client: httpx.Client) -> bool:
    with client.stream("GET", WHOLE) as answer:
        return answer.status_code == 200


def test_an_error_in_the_middle_is_no_short_file(wide: Wide) -> None:
    eventually(lambda: wide.reading() == 0)
    with wide.client() as client, client.stream("GET", WHOLE) as answer:
        parts = answer.iter_raw()
        next(parts)
        # It may be taking its page just now, and is no reader that waits: it is soon.
        eventually(lambda: wide.reading() == 1)
        run_apart(execute(wide.database.superuser_url, KILL))
        with pytest.raises(httpx.RemoteProtocolError):
            for _ in parts:
                pass


async def test_who_leaves_before_the_first_part_is_not_worked_for() -> None:
    let_go = asyncio.Event()

    async def receive() -> Any:
        await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    async def work() -> None:
        try:
            await asyncio.sleep(NEVER_S)
        finally:
            let_go.set()

    with pytest.raises(Exception, match="went away"):
        await while_there(receive, work())
    assert let_go.is_set()


async def test_a_reader_who_takes_too_long_is_let_go() -> None:
    closed = asyncio.Event()

    async def parts() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            yield b"second"
        finally:
            closed.set()

    async def never() -> Any:
        await asyncio.sleep(NEVER_S)

    async def send(message: Any) -> None:
        if message.get("body") == b"second":
            await asyncio.sleep(NEVER_S)

    answer: Any = Streamed(parts(), media_type="text/csv", end_s=1)
    with pytest.raises(TimeoutError):
        await answer.to_asgi_response(None, None)({}, never, send)
    assert closed.is_set()
