"""Another process does pieces of a run: its errors are the run's, and it never outlives the run."""

import asyncio
import os

import pytest

from ledger.domain.errors import ConflictError, UnavailableError
from ledger.flows.other_process import other_process
from ledger.store import stage_runs
from ledger.store.queries import Connection
from tests.support import elsewhere

LOCK = 4711
HOLDS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND granted"


async def test_pieces_are_done_elsewhere_while_no_other_run_begins(worker: Connection) -> None:
    async with other_process(worker, "stage", elsewhere.tell) as ask:
        first, second = await ask(3), await ask(4)
        assert (first[1], second[1]) == (6, 8)
        assert first[0] == second[0] != os.getpid()
        assert not await worker.fetchval(
            "SELECT pg_try_advisory_lock(lock_class('stage'), hashtext('stage+'))"
        )
    # Waits until the session of the process has ended as well.
    async with stage_runs.running(worker, "stage"):
        pass


async def test_its_error_is_raised_here_as_it_was(worker: Connection) -> None:
    async with other_process(worker, "stage", elsewhere.refuse) as ask:
        with pytest.raises(ConflictError) as caught:
            await ask("this")
        assert (caught.value.wrong, caught.value.remedy) == ("Not this.", "Take another.")
        with pytest.raises(UnavailableError, match="goes on behind that"):
            await ask("this")


async def test_who_vanishes_is_missed(worker: Connection) -> None:
    async with other_process(worker, "stage", elsewhere.vanish) as ask:
        with pytest.raises(UnavailableError, match="is gone"):
            await ask(3)


async def test_what_it_was_at_is_rolled_back_with_the_run(
    worker: Connection, owner: Connection
) -> None:
    async def run() -> None:
        async with other_process(worker, "stage", elsewhere.begin) as ask:
            await ask(LOCK)

    running = asyncio.create_task(run())
    while not await owner.fetchval(HOLDS, LOCK):
        assert not running.done()
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await owner.execute("SELECT pg_advisory_lock($1)", LOCK)
    assert not await owner.fetchval("SELECT count(*) FROM work_state")
