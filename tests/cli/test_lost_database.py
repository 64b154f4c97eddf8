"""Commands whose database stops under them say so in one line, and do their work when run again."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from ledger.embedded.postgres import EmbeddedServer
from tests.cli.command_line import CommandLine
from tests.cli.stored import fill
from tests.support.database import Database, fresh_database, make_template
from tests.torture.gates import gate_at

# What each command waits for half way, and what it says in the end.
COMMANDS = {
    "fold": (["fold", "--all"], "usage_delta", "12 rows became 3"),
    "merge": (["merge"], "merged_chunk", "4 facts in 1 chunk"),
    "archive": (["archive", "--before", "2026-08-07"], "archived_partition", "1 day archived"),
    "check": (["check"], "cut_off", "all equal"),
}


@pytest.fixture(scope="module")
def durable_template(durable_server: EmbeddedServer) -> str:
    return make_template(durable_server)


@pytest.fixture
def filled(durable_server: EmbeddedServer, durable_template: str) -> Iterator[CommandLine]:
    with fresh_database(durable_server, durable_template) as database:
        asyncio.run(fill(database.worker_url))
        yield CommandLine(database)


@pytest.mark.parametrize("immediate", [False, True], ids=["shutdown", "power cut"])
@pytest.mark.parametrize("name", list(COMMANDS))
def test_a_command_that_loses_its_database_says_so_and_may_be_run_again(
    filled: CommandLine,
    durable_server: EmbeddedServer,
    tmp_path: Path,
    name: str,
    immediate: bool,
) -> None:
    arguments, table, done = COMMANDS[name]
    command = [*arguments, *(["--to", tmp_path] if name == "archive" else [])]
    with ThreadPoolExecutor(1) as pool:
        said = asyncio.run(
            _stopped_half_way(filled, command, table, durable_server, pool, immediate)
        )
    assert said.startswith("The connection to the database was lost")
    durable_server.start()
    assert done in filled(*command).stdout


async def _stopped_half_way(
    filled: CommandLine,
    command: list[object],
    table: str,
    server: EmbeddedServer,
    pool: ThreadPoolExecutor,
    immediate: bool,
) -> str:
    database: Database = filled.database
    async with gate_at(database.superuser_url, table) as gate:
        running: Future[str] = pool.submit(filled.refusal, *command)
        assert await gate.meet("") is not None
        await asyncio.to_thread(server.stop, immediate=immediate)
        return await asyncio.wrap_future(running)
