"""Ctrl-C in a command that takes long: one line, exit status 130, and the database as before."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from ledger.flows.metering.ingest import prepare_storage
from ledger.store.connect import connect
from ledger.store.queries import Connection
from tests.cli.command_line import CommandLine
from tests.flows.test_archive import fill
from tests.support.books import Books, Tokens
from tests.support.database import Database
from tests.support.one_gpu import GPU, START, one_gpu, steady
from tests.support.usage import NOW

LOG = ("--map", "time=at", "--map", "output=out", "--set", "customer=acme", "--set", "model=m")


WRITES = """SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND backend_xid IS NOT NULL"""


WAITS = """SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'"""


async def used_gpu(connection: Connection) -> None:
    """An hour of a GPU that was measured and used."""
    books = Books(connection)
    await one_gpu(books)
    await books.readings(GPU, steady(range(0, 3_601, 10)))
    await books.usage(START, Tokens(uncached=60, output=10))


async def stored_facts(connection: Connection) -> None:
    """Facts of a day that is over."""
    await prepare_storage(connection, now=NOW)
    await fill(connection)


@dataclass(frozen=True, slots=True)
class Held:
    """A command over what `filled` made, what another session does so that it has to wait, and
    tables that stay without a row."""

    arguments: tuple[str, ...]
    filled: Callable[[Connection], Awaitable[None]]
    hold: str
    untouched: tuple[str, ...] = ()


PROGRESS = re.compile(r"(import|backfill|facts|bytes) ")
HELD = {
    "settle": Held(("settle",), used_gpu, "LOCK TABLE charge_day", ("charge", "posting")),
    "allocate": Held(
        ("allocate",), used_gpu, "LOCK TABLE cost_allocation", ("cost_pool", "cost_allocation")
    ),
    "archive": Held(
        ("archive", "--before", "2026-08-07", "--to", "archive"),
        stored_facts,
        "SELECT FROM usage_fact",
        ("archived_partition",),
    ),
    "export": Held(
        ("export", "journal_lines", "--month", "2026-08", "--output", "files"),
        stored_facts,
        "LOCK TABLE posting",
    ),
    "backup": Held(("backup", "--to", "backup"), stored_facts, "LOCK TABLE usage_key"),
}


async def is_writing(url: str) -> bool:
    connection = await asyncpg.connect(url)
    try:
        return bool(await connection.fetchval(WRITES))
    finally:
        await connection.close()


def interrupted(command: CommandLine, *arguments: object) -> subprocess.Popen[str]:
    """A command that got SIGINT, with all its processes, while it had something to undo."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ledger.cli", *map(str, arguments)],
        env=os.environ | {"TOKENLEDGER_WORKER_URL": command.database.worker_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None and not asyncio.run(is_writing(command.database.superuser_url)):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    return process


def test_an_import_leaves_nothing(command: CommandLine, tmp_path: Path) -> None:
    command.enter_factory(tmp_path)
    path = tmp_path / "rows.csv"
    lines = [f"c{n},factory,C{n}" for n in range(5_000)]
    path.write_text("\n".join(["customer_id,entity_id,name", *lines]) + "\n")
    check_stopped(interrupted(command, "import", "customers", path))
    assert [row["customer_id"] for row in command.items("list", "customers")] == ["acme"]


def test_a_backfill_goes_on_where_it_stopped(command: CommandLine, tmp_path: Path) -> None:
    command.enter_factory(tmp_path)
    path = tmp_path / "rows.csv"
    lines = [f"2024-03-01T10:00:{n % 60:02d}Z,1" for n in range(50_000)]
    path.write_text("\n".join(["at,out", *lines]) + "\n")
    check_stopped(interrupted(command, "backfill", path, *LOG))
    assert "all equal" in command("check").stdout
    done = command.json("backfill", path, *LOG)
    assert done["created"] + done["duplicate"] == 50_000
    (row,) = command.json("report", "usage", "--month", "2024-03", "--by", "customer")["items"]
    assert row["output_tokens"] == 50_000


@pytest.mark.parametrize("name", HELD)
def test_what_is_stopped_half_way_is_as_if_it_never_ran(
    command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    held = HELD[name]
    asyncio.run(filled(command.database, held.filled))
    check_stopped(asyncio.run(stopped(command.database, held.hold, *held.arguments)))
    for table in held.untouched:
        assert asyncio.run(count(command.database, table)) == 0
    if name != "archive":
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert command(*held.arguments).exit_code == 0
    for table in held.untouched[:1]:
        assert asyncio.run(count(command.database, table)) > 0


def test_a_restore_leaves_the_database_empty(
    command: CommandLine, tmp_path: Path, elsewhere: Database
) -> None:
    command.enter_factory(tmp_path)
    command("backup", "--to", tmp_path / "backup")
    arguments = ("restore", str(tmp_path / "backup"))
    check_stopped(asyncio.run(stopped(elsewhere, "CREATE TABLE entity ()", *arguments)))
    said = CommandLine(elsewhere)(*arguments).stdout
    assert "are back" in said


async def filled(database: Database, fill_in: Callable[[Connection], Awaitable[None]]) -> None:
    connection = await connect(database.worker_url)
    await fill_in(connection)
    await connection.close()


async def count(database: Database, table: str) -> int:
    connection = await asyncpg.connect(database.superuser_url)
    found = int(await connection.fetchval(f"SELECT count(*) FROM {table}"))
    await connection.close()
    return found


@asynccontextmanager
async def rolled_back(connection: Connection) -> AsyncIterator[None]:
    """A transaction that is undone in the end."""
    transaction = connection.transaction()
    await transaction.start()
    yield
    await transaction.rollback()


async def stopped(database: Database, hold: str, *arguments: str) -> subprocess.Popen[str]:
    """A command that got SIGINT, with all its processes, while it waited for another session."""
    other, watch = [await asyncpg.connect(database.superuser_url) for _ in range(2)]
    async with rolled_back(other):
        await other.execute(hold)
        process = subprocess.Popen(
            [sys.executable, "-m", "ledger.cli", *arguments],
            env=os.environ
            | {
                "TOKENLEDGER_OWNER_URL": database.owner_url,
                "TOKENLEDGER_WORKER_URL": database.worker_url,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        while process.poll() is None and not await watch.fetchval(WAITS):
            await asyncio.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        await asyncio.to_thread(process.wait, 60)
    await other.close()
    await watch.close()
    return process


def check_stopped(process: subprocess.Popen[str]) -> None:
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    # Progress is lines of its own.
    errors = [line for line in said.splitlines() if not PROGRESS.match(line)]
    assert errors == ["error: Stopped. What was not finished is undone; run it again."]
