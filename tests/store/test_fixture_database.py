"""The databases that tests get: migrated, of their own, and as restricted as in production."""

import asyncpg
import pytest

from ledger.store.queries import Connection
from tests.support.database import Database


@pytest.mark.parametrize("turn", ["first", "second"])
async def test_every_test_starts_from_an_empty_database(owner: Connection, turn: str) -> None:
    await owner.execute("CREATE TABLE left_behind (turn text)")
    assert await owner.fetchval("SELECT count(*) FROM left_behind") == 0, turn


async def test_template_is_what_the_migrations_made(owner: Connection) -> None:
    assert await owner.fetchval("SELECT count(*) FROM alembic_version") == 1
    assert await owner.fetchval("SELECT to_regclass('usage_fact') IS NOT NULL")


async def test_connections_act_as_the_three_roles(
    owner: Connection, worker: Connection, api: Connection
) -> None:
    names = [await each.fetchval("SELECT current_user") for each in (owner, worker, api)]
    assert names == ["tokenledger_owner", "tokenledger_worker", "tokenledger_api"]


async def test_only_the_worker_passes_row_level_security(worker: Connection) -> None:
    bypass = "SELECT rolname FROM pg_roles WHERE rolbypassrls AND rolname LIKE 'tokenledger%'"
    assert await worker.fetchval(bypass) == "tokenledger_worker"


async def test_worker_and_api_own_nothing(worker: Connection) -> None:
    owned = """SELECT count(*) FROM pg_class
                WHERE relowner IN ('tokenledger_worker'::regrole, 'tokenledger_api'::regrole)"""
    assert await worker.fetchval(owned) == 0


async def test_api_role_is_refused_writing(database: Database, api: Connection) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await api.execute("INSERT INTO cut_off (batch_seq, purpose) VALUES (0, 'x')")
    assert database.api_url.startswith("postgresql://tokenledger_api@")
