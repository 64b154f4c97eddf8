"""One server a session, one database a test: copied from a template that the migrations made."""

import asyncio
import itertools
import re
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import asyncpg

from ledger.embedded.postgres import EmbeddedServer
from ledger.store.connect import connect
from ledger.store.migrate import migrate
from ledger.store.queries import Connection
from ledger.store.roles import API, OWNER, SUPERUSER, WORKER, bootstrap_roles, grant_database

TEMPLATE, EMPTY = "tokenledger_template", "template0"
# What a crash could lose does not matter here; tests that claim durability use `durable_server`.
FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    # The log lies in memory, beside the databases.
    "max_wal_size": "128MB",
    "min_wal_size": "32MB",
    # Statistics that come when they like change plans in the middle of a test.
    "autovacuum": "off",
}
# A database is a thousand files: seconds of a journalling file system, a fifth of one in memory.
MEMORY = Path("/dev/shm")
MEMORY_BYTES_MIN = 3 * 2**30
SAME_ACCESS = """
UPDATE pg_database SET datacl = template.datacl FROM pg_database AS template
 WHERE pg_database.datname = $1 AND template.datname = $2
"""

# These tables, and all whose rows name rows of them.
EMPTIED = """
WITH RECURSIVE emptied AS (
    SELECT name::regclass::oid AS id FROM unnest($1::text[]) AS name
    UNION
    SELECT c.conrelid FROM pg_constraint c JOIN emptied e ON c.confrelid = e.id
     WHERE c.contype = 'f'
)
SELECT string_agg(format('DELETE FROM %s;', id::regclass), '') FROM emptied
"""

T = TypeVar("T")
_numbers = itertools.count(1)
_emptying: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Database:
    """A migrated database of its own, by role."""

    name: str
    owner_url: str
    worker_url: str
    api_url: str
    superuser_url: str


def run_apart(work: Coroutine[object, object, T]) -> T:
    """Run a coroutine to its end in a thread, whatever loop this one has."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


async def execute(url: str, sql: str) -> None:
    """One statement on a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def empty(database: Database, tables: str) -> None:
    """Take every row out of these tables and of those that depend on them, whatever forbids it.

    Row by row: TRUNCATE makes each of their files anew, which takes longer than what an example
    of a property does with them.
    """
    connection = await asyncpg.connect(database.superuser_url)
    try:
        if tables not in _emptying:
            _emptying[tables] = await connection.fetchval(EMPTIED, re.split(r",\s*", tables))
        await connection.execute("SET session_replication_role = replica;" + _emptying[tables])
    finally:
        await connection.close()


def urls(server: EmbeddedServer, name: str) -> Database:
    """The database called `name` on `server`."""
    roles = (OWNER, WORKER, API, SUPERUSER)
    return Database(name, *(server.url(role, name) for role in roles))


@contextmanager
def server_folder() -> Iterator[Path]:
    """A data directory outside pytest's own folder.

    Each new session of pytest closes that to other users, and as root the server is another.
    """
    with tempfile.TemporaryDirectory(prefix="tokenledger-test-", dir=_memory()) as folder:
        yield Path(folder)


def _memory() -> Path | None:
    """The file system in memory, where it has room for the servers of a run."""
    try:
        room = shutil.disk_usage(MEMORY).free
    except OSError:
        return None
    return MEMORY if room >= MEMORY_BYTES_MIN else None


def make_template(server: EmbeddedServer) -> str:
    """Roles, an empty database, and the migrations run over it as the owner."""
    superuser = server.url(database="postgres")
    run_apart(bootstrap_roles(superuser))
    run_apart(execute(superuser, f"DROP DATABASE IF EXISTS {TEMPLATE}"))
    run_apart(execute(superuser, f"CREATE DATABASE {TEMPLATE} OWNER {OWNER}"))
    run_apart(grant_database(superuser, TEMPLATE))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(migrate, server.url(OWNER, TEMPLATE)).result()
    return TEMPLATE


async def _copy(superuser: str, template: str, name: str) -> None:
    """A database with all that the template has; who may enter one is copied where it was said."""
    connection = await asyncpg.connect(superuser)
    try:
        # As files: through the log each page is written twice.
        copied = f"TEMPLATE {template} STRATEGY file_copy"
        await connection.execute(f"CREATE DATABASE {name} OWNER {OWNER} {copied}")
        if template != EMPTY:
            await connection.execute(SAME_ACCESS, name, template)
    finally:
        await connection.close()


@contextmanager
def fresh_database(server: EmbeddedServer, template: str) -> Iterator[Database]:
    """A copy of `template`, dropped on leaving whoever is still connected."""
    name = f"test_{next(_numbers)}"
    superuser = server.url(database="postgres")
    run_apart(_copy(superuser, template, name))
    if template == EMPTY:
        run_apart(grant_database(superuser, name))
    yield urls(server, name)
    run_apart(execute(server.url(database="postgres"), f"DROP DATABASE {name} WITH (FORCE)"))


def filled_database(
    server: EmbeddedServer, template: str, fill: Callable[[Connection], Awaitable[object]]
) -> Iterator[str]:
    """A fixture's steps: the name of a database with what many tests begin with and copy."""
    with fresh_database(server, template) as database:
        run_apart(_fill(database.worker_url, fill))
        yield database.name


async def _fill(url: str, fill: Callable[[Connection], Awaitable[object]]) -> None:
    connection = await connect(url)
    try:
        await fill(connection)
    finally:
        await connection.close()


def shared_data_folder(configured: str | None, root: Path) -> Path | None:
    """Where the published data sets lie: as configured, else beside the repository."""
    folder = Path(configured) if configured else root.parent / "shared" / "data"
    return folder if folder.is_dir() else None
