"""Changes of tables beside writers: they wait a moment, let the writers go on, and try again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

from ledger.domain.errors import UnavailableError

T = TypeVar("T")
TRIES = 20
WAIT_S = 0.5


async def changing_tables(change: Callable[[], Awaitable[T]]) -> T:
    """What `change` returns; it runs again while it gets no lock, which it waits for two seconds.

    UnavailableError where there is no moment for it.
    """
    for _ in range(TRIES):
        try:
            return await change()
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            await asyncio.sleep(WAIT_S)
    raise UnavailableError(
        "The tables of facts are in use without a pause.", "Run again; nothing was changed."
    )
