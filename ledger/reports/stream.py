"""Reports of any size: read from a cursor and written page by page, in little memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from ledger.store.queries import Connection

R = TypeVar("R")
# So many rows are a third of a megabyte of text, more or less.
PAGE_ROWS = 1_000


def snapshot(connection: Connection) -> AbstractAsyncContextManager[Any]:
    """What is read inside is as it was at the first statement, whatever is written meanwhile."""
    return connection.transaction(isolation="repeatable_read", readonly=True)


async def written(
    pages: AsyncIterator[Sequence[R]], write: Callable[[Sequence[R]], Iterable[str]]
) -> AsyncIterator[bytes]:
    """What `write` makes of each page, in UTF-8; made beside the event loop."""
    async for page in pages:
        yield await asyncio.to_thread(_write, write, page)


def _write(write: Callable[[Sequence[R]], Iterable[str]], page: Sequence[R]) -> bytes:
    return "".join(write(page)).encode()
