"""A check adds up facts in files as it does facts in the database."""

from pathlib import Path

import asyncpg
import polars as pl
import pytest

from ledger.domain.errors import ConflictError, UnavailableError
from ledger.flows.metering.archive import archive, write_archive
from ledger.flows.metering.check import CheckSizes, check_windows
from ledger.store.connect import connect
from ledger.store.metering.check import one_snapshot
from ledger.store.metering.facts import PartSizes
from ledger.store.metering.retention import close_day, drop_archived_day, list_archived
from ledger.store.queries import Connection
from tests.flows.test_archive import BEFORE, DAY, LATER, TODAY, fill
from tests.support.database import Database
from tests.support.usage import attempt, correction, keyed


async def half_archived(connection: Connection, folder: Path) -> int:
    """A day in a file, and a day after it that corrects it; how many facts there are."""
    gate = await fill(connection)
    await archive(connection, before=BEFORE, today=TODAY, folder=folder)
    mended = correction("c5", of="e5", revision=1, tokens=70, minute=5)
    await gate.send(keyed(mended, attempt("late", minute=3)), now=LATER)
    (day,) = await list_archived(connection)
    return day.day.rows + int(await connection.fetchval("SELECT count(*) FROM usage_fact"))


async def test_windows_of_facts_in_file_and_database_are_equal(
    worker: Connection, tmp_path: Path
) -> None:
    facts = await half_archived(worker, tmp_path)
    assert facts == 24 + 3
    seen: list[int] = []
    sizes = CheckSizes(PartSizes(rows=5))
    found = await check_windows([worker], progress=seen.append, sizes=sizes)
    assert (found.facts, found.differences) == (facts, [])
    # The last four of the file are fewer than are added up at once, and wait for the three rows.
    assert (len(seen), sum(seen)) == (5, facts)


async def test_a_delta_of_archived_facts_that_was_changed_is_named(
    worker: Connection, tmp_path: Path, database: Database
) -> None:
    await half_archived(worker, tmp_path)
    superuser = await connect(database.superuser_url)
    await superuser.execute("SET session_replication_role = replica")
    await superuser.execute(
        """UPDATE usage_delta SET uncached = uncached + 1
            WHERE ctid = (SELECT min(ctid) FROM usage_delta)"""
    )
    await superuser.close()
    found = await check_windows([worker])
    (one,) = found.differences
    assert one["counts"]["uncached"]["stored"] == one["counts"]["uncached"]["facts"] + 1


async def test_a_file_that_was_changed_or_is_away_is_an_error(
    worker: Connection, tmp_path: Path
) -> None:
    await half_archived(worker, tmp_path)
    (day,) = await list_archived(worker)
    path = Path(str(day.path))
    pl.read_parquet(path).with_columns(visible=pl.col("visible") + 1).write_parquet(path)
    with pytest.raises(ConflictError, match="SHA-256 differs"):
        await check_windows([worker])
    path.unlink()
    with pytest.raises(UnavailableError, match="are not at"):
        await check_windows([worker])


async def test_a_day_is_not_moved_away_while_it_is_checked(
    worker: Connection, database: Database, tmp_path: Path
) -> None:
    await fill(worker)
    day = await write_archive(worker, await close_day(worker, DAY), tmp_path)
    other = await connect(database.worker_url)
    try:
        async with one_snapshot([worker]):
            with pytest.raises(asyncpg.LockNotAvailableError):
                await drop_archived_day(other, day)
        await drop_archived_day(other, day)
    finally:
        await other.close()
    assert (await check_windows([worker])).differing == 0
