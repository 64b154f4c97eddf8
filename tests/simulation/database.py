"""A database in memory: rows that are locked until their transaction ends.

It knows of PostgreSQL what the order of commit relies on: a second writer of an id or of a position
waits for the first, sees what that one committed, and is told of deadlocks and of waits that last
too long.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import asyncpg

LOCK_TIMEOUT_S = 10
# What a database says in a bad moment, of whatever it was asked.
MOODS: Sequence[Callable[[], Exception]] = (
    lambda: asyncpg.DeadlockDetectedError("deadlock detected"),
    lambda: asyncpg.SerializationError("could not serialize access"),
    lambda: asyncpg.QueryCanceledError("canceling statement"),
    lambda: asyncpg.DiskFullError("no space left on device"),
)
# What it says of a record of this kind, whenever it is offered.
OF_KIND: Mapping[str, Callable[[], Exception]] = {
    "refused": lambda: asyncpg.NumericValueOutOfRangeError("out of range"),
    "contended": lambda: asyncpg.DeadlockDetectedError("deadlock detected"),
    "cancelled": lambda: asyncpg.QueryCanceledError("canceling statement"),
    "ill": lambda: asyncpg.InternalServerError("invalid page"),
}
Lock = tuple[Any, ...]
Id = tuple[int, str]
Taken = tuple[bytes, int, int]


@dataclass(frozen=True, slots=True)
class Row:
    """What was stored of a record: under which number, how, and which of its ids were counted."""

    partition: int
    offset: int
    fate: str
    counted: Sequence[str]


@dataclass(frozen=True, slots=True)
class Step:
    """A partition that moved, or offsets that were named lost."""

    partition: int
    since: int
    until: int


@dataclass(eq=False)
class Transaction:
    """What a session has written and not committed."""

    rows: list[Row] = field(default_factory=list)
    keys: dict[bytes, tuple[bytes, int, int]] = field(default_factory=dict)
    positions: dict[int, int] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    gaps: list[Step] = field(default_factory=list)
    failed: bool = False
    waits_for: "Transaction | None" = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(eq=False)
class Database:
    """All that is committed, who holds what, and the troubles it is in."""

    chance: Random
    topic_id: str
    mood: float = 0.0
    trouble: float = 0.0
    down: bool = False
    positions: dict[int, int] = field(default_factory=dict)
    keys: dict[bytes, tuple[bytes, int, int]] = field(default_factory=dict)
    days: set[Any] = field(default_factory=set)
    locks: dict[Lock, Transaction] = field(default_factory=dict)
    sessions: dict[Any, None] = field(default_factory=dict)
    commits: list[Transaction] = field(default_factory=list)
    drawn: int = 0
    met: dict[str, int] = field(default_factory=dict)

    def note(self, what: str) -> None:
        """Count what was met."""
        self.met[what] = self.met.get(what, 0) + 1

    async def lock(self, own: Transaction, lock: Lock) -> None:
        """Wait for whoever holds it; it is given back when the transaction ends."""
        while not own.ended.is_set() and (holder := self.locks.get(lock, own)) is not own:
            own.waits_for = holder
            at: Transaction | None = holder
            while at is not None and at is not own:
                at = at.waits_for
            if at is own:
                own.waits_for = None
                self.note("deadlocks")
                raise asyncpg.DeadlockDetectedError("deadlock detected")
            try:
                await asyncio.wait_for(holder.ended.wait(), LOCK_TIMEOUT_S)
            except TimeoutError:
                self.note("lock timeouts")
                raise asyncpg.LockNotAvailableError("lock timeout") from None
            finally:
                own.waits_for = None
        if own.ended.is_set():
            raise asyncpg.ConnectionDoesNotExistError("connection was closed")
        self.locks[lock] = own

    def commit(self, one: Transaction) -> None:
        """Make it so."""
        self.positions |= one.positions
        self.keys |= one.keys
        if one.rows or one.steps:
            self.commits.append(one)
        self.end(one)

    def end(self, one: Transaction) -> None:
        """Give back what it held."""
        self.locks = {lock: holder for lock, holder in self.locks.items() if holder is not one}
        one.ended.set()

    def restart(self) -> None:
        """Everybody is thrown out."""
        for session in list(self.sessions):
            session.lose()
