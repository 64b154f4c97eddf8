"""What the worker and the api may do in PostgreSQL besides their work: nothing."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from ledger.store.connect import connect
from ledger.store.queries import Connection
from ledger.store.roles import API, WORKER
from tests.support.database import Database, execute

DEFINERS = """
SELECT p.oid::regprocedure::text AS called, p.proname AS name,
       p.prorettype = 'trigger'::regtype AS fires, p.proconfig AS config,
       array_agg(t.typname::text ORDER BY a.n) FILTER (WHERE a.n IS NOT NULL) AS arguments
  FROM pg_proc p
  LEFT JOIN LATERAL unnest(p.proargtypes::oid[]) WITH ORDINALITY AS a(type, n) ON true
  LEFT JOIN pg_type t ON t.oid = a.type
 WHERE p.pronamespace = 'public'::regnamespace AND p.prosecdef
 GROUP BY p.oid
"""
# A value of each type that a definer takes; a type without one here fails the test.
VALUES = {
    "date": "'2024-05-06'",
    "int4": "1",
    "int8": "1",
    "text": "'x'",
    "bytea": "sha256('x')",
    "interval": "'1 hour'",
    "timestamptz": "'2024-05-06Z'",
    "uuid": "gen_random_uuid()",
}
# Everything of ours shadowed by something of the caller's, which notes whose rights it ran with.
SHADOWS = """
CREATE FUNCTION pg_temp.note() RETURNS trigger LANGUAGE plpgsql AS $note$
BEGIN
  RAISE EXCEPTION 'ran as %', current_user USING ERRCODE = 'P0999';
END $note$;
DO $do$
DECLARE
  known record;
BEGIN
  FOR known IN SELECT oid, relname, relkind FROM pg_class
                WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'S') LOOP
    IF known.relkind = 'S' THEN
      EXECUTE format('CREATE TEMP SEQUENCE %I START 777000', known.relname);
      EXECUTE format('GRANT ALL ON SEQUENCE pg_temp.%I TO PUBLIC', known.relname);
      CONTINUE;
    END IF;
    EXECUTE (SELECT format('CREATE TEMP TABLE %I (%s)', known.relname, string_agg(
                      format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', '))
               FROM pg_attribute a WHERE a.attrelid = known.oid AND a.attnum > 0);
    EXECUTE format('GRANT ALL ON pg_temp.%I TO PUBLIC', known.relname);
    EXECUTE format('CREATE TRIGGER note BEFORE INSERT OR UPDATE OR DELETE ON pg_temp.%I
                    FOR EACH STATEMENT EXECUTE FUNCTION pg_temp.note()', known.relname);
  END LOOP;
END $do$;
"""
USED = """
SELECT sequencename FROM pg_sequences WHERE schemaname LIKE 'pg_temp%' AND last_value >= 777000
"""


@pytest.fixture(params=[WORKER, API])
async def attacker(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Connection]:
    """A connection of a role that does not own the books."""
    url = database.worker_url if request.param == WORKER else database.api_url
    connection = await connect(url)
    yield connection
    await connection.close()


async def test_code_that_runs_as_the_owner_looks_for_names_of_the_caller_last(
    owner: Connection,
) -> None:
    found = await owner.fetch(DEFINERS)
    assert found
    for function in found:
        (path,) = [each for each in function["config"] if each.startswith("search_path=")]
        assert path == "search_path=pg_catalog, public, pg_temp", function["called"]


async def test_temporary_tables_catch_no_code_that_runs_as_the_owner(
    database: Database, attacker: Connection
) -> None:
    role = await attacker.fetchval("SELECT current_user")
    superuser = database.superuser_url
    await execute(superuser, f"GRANT TEMPORARY ON DATABASE {database.name} TO {role}")
    await execute(superuser, "SELECT public.ensure_partitions('2024-05-01', 10)")
    await attacker.execute(SHADOWS)
    for function in await attacker.fetch(DEFINERS):
        if not function["fires"]:
            assert await _outcome(attacker, function) != "P0999", function["called"]
    assert await attacker.fetch(USED) == []


async def _outcome(attacker: Connection, function: asyncpg.Record) -> str | None:
    given = ", ".join(VALUES[name] for name in function["arguments"] or [])
    try:
        async with attacker.transaction():
            await attacker.execute(f"SELECT public.{function['name']}({given})")
    except asyncpg.PostgresError as error:
        return error.sqlstate
    return None


async def test_a_write_that_fires_code_of_the_owner_finds_no_sequence_of_the_writer(
    database: Database, worker: Connection
) -> None:
    superuser = database.superuser_url
    await execute(superuser, f"GRANT TEMPORARY ON DATABASE {database.name} TO {WORKER}")
    await worker.execute(SHADOWS)
    await worker.execute(
        "INSERT INTO public.entity (entity_id, currency, zone, invoice_prefix, batch_seq)"
        " VALUES ('e', 'EUR', 'UTC', 'E', 1)"
    )
    assert await worker.fetch(USED) == []


REFUSED = (
    "CREATE TEMP TABLE cut_off (batch_seq bigint)",
    "CREATE TABLE public.mine (n int)",
    "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA mine",
    "CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION public.refuse_change()",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT pg_logical_emit_message(false, 'a', repeat('x', 1000))",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('.')",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/walls.txt'",
    "SELECT passwd FROM pg_shadow",
    "SET ROLE tokenledger_owner",
    "SET SESSION AUTHORIZATION postgres",
    "SET session_replication_role = replica",
    "ALTER TABLE public.charge_day DISABLE TRIGGER append_only",
    "ALTER TABLE public.charge_day DISABLE ROW LEVEL SECURITY",
    "DROP TABLE public.charge_day",
    "TRUNCATE public.charge_day",
    "DELETE FROM public.charge_day",
    "UPDATE public.charge_day SET amount = '{0}'",
    "SELECT setval('public.batch_seq', 1)",
    "ALTER FUNCTION public.draw_batch_seq() SECURITY INVOKER",
    "ALTER SYSTEM SET archive_command = 'true'",
    "GRANT tokenledger_owner TO tokenledger_api",
    "CREATE ROLE mine SUPERUSER",
)
# What only those who write may do.
API_REFUSED = (
    "SELECT pg_advisory_lock(1, 1)",
    "SELECT pg_try_advisory_lock_shared(1, 1)",
    "SELECT pg_advisory_xact_lock(1)",
    "INSERT INTO public.customer (customer_id) VALUES ('x')",
    "SELECT nextval('public.batch_seq')",
    "SELECT key_hash FROM public.api_key",
    "SELECT body FROM public.idempotency_key",
    "SELECT public.draw_batch_seq()",
    "SELECT public.draw_cut_off('x')",
    "SELECT public.ensure_partitions('2024-01-01', 1)",
)


async def test_neither_role_may_do_more_than_its_work(attacker: Connection) -> None:
    for statement in REFUSED:
        assert await _is_refused(attacker, statement), statement


async def test_the_reader_may_neither_write_nor_lock_nor_see_secrets(api: Connection) -> None:
    for statement in API_REFUSED:
        assert await _is_refused(api, statement), statement


async def _is_refused(connection: Connection, statement: str) -> bool:
    try:
        await connection.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        return True
    return False


async def test_a_request_that_reads_cannot_begin_to_write(api: Connection) -> None:
    async with api.transaction(readonly=True):
        await api.fetchval("SELECT 1")
        with pytest.raises(asyncpg.PostgresError):
            await api.execute("SET TRANSACTION READ WRITE")
    async with api.transaction(readonly=True):
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await api.execute("ALTER ROLE tokenledger_api PASSWORD 'mine'")
