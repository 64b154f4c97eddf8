"""Keeps what a process that ingests remembers: slow facts, keys, and who sends ids again."""

from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field

from ledger.domain.metering.directory import Directory
from ledger.domain.metering.key import Memory
from ledger.domain.metering.known_keys import KnownKeys
from ledger.flows.metering.duplicate_filter import DuplicateFilter
from ledger.store.metering.directory import (
    find_directory_changing,
    find_directory_version,
    read_directory,
)
from ledger.store.queries import Connection

UNSETTLED = -1


@dataclass(slots=True)
class DirectoryCache:
    """One per process: costs a sequence read a batch while nothing changes."""

    snapshot: Directory | None = None
    known_keys: KnownKeys = field(default_factory=KnownKeys)
    resolved: Memory = field(default_factory=Memory)
    duplicate_filter: DuplicateFilter = field(default_factory=DuplicateFilter)

    async def read(self, connection: Connection) -> Directory:
        """The slow facts as they stand."""
        version = await find_directory_version(connection)
        if self.snapshot is None or self.snapshot.version != version:
            # In this order: a change that is not visible yet leaves a mark that matches nothing.
            changing = await find_directory_changing(connection)
            async with _of_one_moment(connection):
                read = await read_directory(connection, UNSETTLED if changing else version)
            # Both at once, so that nothing is remembered beside another directory. Not emptied: who
            # still resolves by the directory before goes on filling that one.
            self.snapshot, self.resolved = read, Memory()
        return self.snapshot


def _of_one_moment(connection: Connection) -> AbstractAsyncContextManager[object]:
    """A name that is known and its customer that is not would be no answer. Who tries what it takes
    back again asks inside a transaction of its own, of which this cannot be part."""
    if connection.is_in_transaction():
        return nullcontext()
    return connection.transaction(isolation="repeatable_read", readonly=True)
