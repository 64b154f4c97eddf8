"""Locks that days of their own tables take, and how many a server has for them."""

from datetime import date

from ledger.commands.review.status import tell_day_tables
from ledger.store.metering.ingest import ensure_partitions
from ledger.store.operations import DayTables, count_day_tables
from ledger.store.queries import Connection

PARTED_BY_DAY = """
    SELECT partrelid::regclass::text AS name FROM pg_partitioned_table WHERE partstrat = 'r'
"""


async def test_a_look_through_all_days_locks_their_tables_and_indexes(worker: Connection) -> None:
    before = await count_day_tables(worker)
    await ensure_partitions(worker, date(2031, 5, 1), days=3)
    behind = await count_day_tables(worker)
    async with worker.transaction():
        # A lock is taken whatever is found, of each index as well.
        for table in await worker.fetch(PARTED_BY_DAY):
            await worker.execute(f"SELECT FROM {table['name']}")
        held = await worker.fetchval(
            """SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
                WHERE l.pid = pg_backend_pid() AND c.relname ~ '_203105'"""
        )
    assert behind.days == before.days + 3
    assert behind.locks - before.locks == held > 3 * 7


async def test_the_servers_of_up_have_room_for_years(worker: Connection) -> None:
    assert (await count_day_tables(worker)).locks_max >= 50_000


def test_status_tells_before_four_sessions_could_use_all_locks_up() -> None:
    assert tell_day_tables(DayTables(88, 1_600, 6_400)) == []
    (said,) = tell_day_tables(DayTables(89, 1_601, 6_400))
    assert said.startswith("Days: 89 have tables of their own")
    assert "1,601 of 6,400 locks" in said
