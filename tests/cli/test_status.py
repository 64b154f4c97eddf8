"""`tokenledger status` names who holds up reports, and whom the ledger has ended for it."""

import asyncio

import pytest

from ledger.commands.review import status
from ledger.flows.watch import end_frozen
from ledger.store.connect import connect, draw_batch_seq
from ledger.store.queries import Connection
from tests.cli.command_line import CommandLine
from tests.support.database import Database
from tests.support.waiting import eventually


async def test_status_names_who_holds_up_reports_and_who_was_ended(
    worker: Connection, database: Database, command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = await connect(f"{database.worker_url}&application_name=sleeper")
    await frozen.execute("BEGIN")
    batch_seq, pid = await draw_batch_seq(frozen), frozen.get_server_pid()
    who = f"session {pid} (sleeper)"
    assert who not in (await asyncio.to_thread(command, "status")).stdout, "it takes its moment"
    monkeypatch.setattr(status, "OPEN_LONG_S", 0)
    shown = (await asyncio.to_thread(command, "status")).stdout
    assert f"Open: batch {batch_seq} of {who} for" in shown
    await end_frozen(worker, quiet_s=0)
    await asyncio.to_thread(eventually, frozen.is_closed)
    shown = (await asyncio.to_thread(command, "status")).stdout
    assert "Open:" not in shown
    assert f"Ended: {who} at" in shown
    (ended,) = (await asyncio.to_thread(command.json, "status"))["ended_sessions"]
    assert (ended["batch_seq"], ended["pid"]) == (batch_seq, pid)
