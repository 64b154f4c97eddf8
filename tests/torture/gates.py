"""Gates: a worker or a command is held inside a chosen statement, so that a fault hits there."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from ledger.store.connect import connect
from ledger.store.queries import Connection

PATIENCE_S = 30.0
LOOK_S = 0.01
# Two-key advisory locks are none of the numbers that hold back a cut-off.
GATE = (707, 707)
HELD = """
SELECT pid, application_name, query FROM pg_stat_activity
 WHERE $1 = ANY (pg_blocking_pids(pid)) AND starts_with(application_name, $2)
   AND starts_with(query, $3)
 ORDER BY application_name LIMIT 1
"""
OF_CLIENT = """
SELECT wait_event IS NOT DISTINCT FROM 'ClientRead' FROM pg_stat_activity
 WHERE pid = $1 AND state IN ('active', 'idle in transaction')
"""
DEFER = f"""
CREATE FUNCTION torture_gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock_shared{GATE};
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER torture_gate AFTER INSERT OR UPDATE ON kafka_position
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION torture_gate();
"""


@dataclass(frozen=True, slots=True)
class Held:
    """A backend that waits at a gate: its process id, who it works for, and its statement."""

    pid: int
    name: str
    query: str


@dataclass(slots=True)
class Gate:
    """A closed gate; whoever comes to it waits until it is left."""

    keeper: Connection
    watcher: Connection

    async def meet(
        self, who: str, statement: str = "", *, patience_s: float = PATIENCE_S
    ) -> Held | None:
        """The first of `who` that is held inside such a statement; None where nobody comes."""
        keeper = self.keeper.get_server_pid()
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            row = await self.watcher.fetchrow(HELD, keeper, who, statement)
            if row is not None:
                return Held(*row)
            await asyncio.sleep(LOOK_S)
        return None


@asynccontextmanager
async def gate_at(superuser_url: str, table: str) -> AsyncIterator[Gate]:
    """Nobody writes into `table` until this is left; readers go on."""
    keeper, watcher = await connect(superuser_url), await connect(superuser_url)
    try:
        await _shut(keeper, table)
        yield Gate(keeper, watcher)
    finally:
        # Its transaction ends with it, and so does its lock.
        await _leave(keeper, watcher)


async def _shut(keeper: Connection, table: str) -> None:
    """Take the lock in a moment when nobody writes: waiting for it, it would hold up batches that
    others wait for, and those would never let go."""
    await keeper.execute("SET lock_timeout = '100ms'")
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            await keeper.execute("BEGIN")
            await keeper.execute(f"LOCK TABLE {table} IN SHARE MODE")
        except asyncpg.LockNotAvailableError:
            await keeper.execute("ROLLBACK")
            if time.monotonic() > until:
                raise
            await asyncio.sleep(LOOK_S * 10)
        else:
            return


@asynccontextmanager
async def gate_in_commit(superuser_url: str) -> AsyncIterator[Gate]:
    """No batch gets through its COMMIT until this is left: a deferred trigger waits in there."""
    keeper, watcher = await connect(superuser_url), await connect(superuser_url)
    try:
        await keeper.execute(f"SELECT pg_advisory_lock{GATE}")
        await keeper.execute(DEFER)
        yield Gate(keeper, watcher)
        await keeper.execute(f"SELECT pg_advisory_unlock{GATE}")
        await keeper.execute("DROP FUNCTION torture_gate CASCADE")
    finally:
        await _leave(keeper, watcher)


async def _leave(*connections: Connection) -> None:
    for connection in connections:
        try:
            await connection.close(timeout=2)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            connection.terminate()


async def waits_for_client(connection: Connection, held: Held) -> bool:
    """Whether a backend past its gate has its transaction open, inside a COPY or between two
    statements, and nothing comes from its client."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        waits = await connection.fetchval(OF_CLIENT, held.pid)
        if waits is not False:
            return bool(waits)
        await asyncio.sleep(LOOK_S)
    return False
