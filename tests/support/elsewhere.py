"""What another process is asked to do: it finds these by their names."""

import asyncio
import os

from ledger.domain.errors import ConflictError
from ledger.store.queries import Connection


async def tell(connection: Connection, number: int) -> tuple[int, int]:
    """In which process, and twice the number."""
    return os.getpid(), int(await connection.fetchval("SELECT 2 * $1::int", number))


async def refuse(_: Connection, what: str) -> None:
    """Fail as a rule of the ledger does."""
    raise ConflictError(f"Not {what}.", "Take another.")


async def vanish(_: Connection, code: int) -> None:
    """End as if the kernel had run out of memory."""
    os._exit(code)


async def begin(connection: Connection, lock: int) -> None:
    """Write something, hold a lock, and never come to an end."""
    async with connection.transaction():
        await connection.execute("INSERT INTO work_state (work) VALUES ('begun')")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", lock)
        await asyncio.Event().wait()
