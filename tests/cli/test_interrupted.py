"""Ctrl-C in a command that takes long: one line, exit status 130, and the database as before."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg

from tests.cli.command_line import CommandLine

LOG = ("--map", "time=at", "--map", "output=out", "--set", "customer=acme", "--set", "model=m")


WRITES = """SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND backend_xid IS NOT NULL"""


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


def check_stopped(process: subprocess.Popen[str]) -> None:
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    # Progress is lines of its own.
    errors = [line for line in said.splitlines() if not line.startswith(("import ", "backfill "))]
    assert errors == ["error: Stopped. What was not finished is undone; run it again."]
