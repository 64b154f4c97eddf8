"""When a batch may take its ids and move its partitions, beside others of the same process.

Two batches may be copied at once. What one of them claims the other may have to wait for, inside
the database, so claims are made in order: then nobody waits for a batch that comes after it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


class IdLostError(Exception):
    """Another writer took an id between look-up and claim; the call is tried again."""


class BudgetedSinceError(IdLostError):
    """A customer of the batch has a budget since it was encoded; the call is tried again."""


class CommitOrder:
    """A batch that no other of its process comes before or after."""

    @asynccontextmanager
    async def taking_ids(self) -> AsyncIterator[None]:
        """Held while ids and places are looked up and taken."""
        yield

    async def moving(self) -> None:
        """Wait until partitions may be moved; IdLostError where the batch has to start again."""

    def start_again(self) -> None:
        """The batch was rolled back and is tried again."""


ALONE = CommitOrder()


@dataclass(slots=True)
class CommitAfter(CommitOrder):
    """A batch of a row of batches, `before` the one that came before it."""

    lock: asyncio.Lock
    before: "CommitAfter | None" = None
    ids_taken: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    again: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def taking_ids(self) -> AsyncIterator[None]:
        """Held by one batch at a time, in order: whoever's transaction begins first may not be the
        first batch, and would wait to move for one that waits for its claims."""
        before = self.before
        if before is not None:
            await before.ids_taken.wait()
            if before.again.is_set():
                await before.done.wait()
        async with self.lock:
            yield
        self.ids_taken.set()

    async def moving(self) -> None:
        """Wait for the batch before: what it moved is where this one begins."""
        if self.before is None:
            return
        waits = [asyncio.ensure_future(e.wait()) for e in (self.before.done, self.before.again)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not self.before.done.is_set():
            # It claims anew, and must not wait for what this one has claimed meanwhile.
            raise IdLostError

    def start_again(self) -> None:
        """Let the batch behind know."""
        self.again.set()

    def finish(self) -> None:
        """It is stored or given up; whoever comes behind may go on, and forgets it."""
        self.ids_taken.set()
        self.done.set()
        # Else every batch would remember all that came before it.
        self.before = None
