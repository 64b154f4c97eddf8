"""A connection to the simulated database, as the driver shows one.

A COMMIT whose answer is lost may have happened, or may happen later.
"""

import asyncio
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import asyncpg
from asyncpg.transaction import Transaction as DriversTransaction

from ledger.domain.metering.event_key import event_key
from ledger.store.connect import CLOCK
from ledger.store.metering.event_keys import EVENT_KEYS, SLOTS
from ledger.store.metering.ingest import INGEST
from tests.simulation.database import MOODS, OF_KIND, Database, Row, Step, Transaction
from tests.simulation.loop import Process, settled

SESSION_LOST_S = 5
QUERIES = {query.sql: query for query in (*INGEST.values(), *EVENT_KEYS.values(), *CLOCK.values())}


class _Protocol:
    def __init__(self, connection: "SimulatedConnection") -> None:
        self._connection = connection

    def is_in_transaction(self) -> bool:
        """As the driver asks."""
        return self._connection.open is not None


class SimulatedConnection:
    """A connection as the driver shows it, with the driver's own transactions."""

    def __init__(self, database: Database, process: Process) -> None:
        self.database, self.process = database, process
        self.open: Transaction | None = None
        # Whether the server has ended it, and whether the client cannot reach it any more.
        self.lost = self.severed = False
        self._top_xact: Any = None
        self._pool_release_ctr = 0
        self._protocol = _Protocol(self)
        self._names = 0
        self._busy: asyncio.Task[Any] | None = None
        self._listeners: list[Callable[[Any], None]] = []
        database.sessions[self] = None

    @classmethod
    async def made(cls, database: Database, process: Process) -> "SimulatedConnection":
        """A new one; ConnectionRefusedError while the database is away."""
        await process.spend(0.05)
        if database.down:
            raise ConnectionRefusedError("no server")
        return cls(database, process)

    def transaction(self) -> DriversTransaction:
        """The driver's own."""
        return DriversTransaction(self, None, False, False)  # type: ignore[arg-type]

    def is_closed(self) -> bool:
        """Whether it was lost or closed."""
        return self.lost or self.severed

    def lose(self) -> None:
        """The server ends it, and forgets what was not committed."""
        if not self.lost:
            self.lost = True
            self.rolled_back()
            self.database.sessions.pop(self, None)
            for listener in [*self._listeners]:
                listener(self)

    def rolled_back(self) -> None:
        """End the transaction that is open, if one is."""
        if self.open is not None:
            self.database.end(self.open)
            self.open = None

    def add_termination_listener(self, listener: Callable[[Any], None]) -> None:
        """Called when it is lost."""
        self._listeners.append(listener)

    def remove_termination_listener(self, listener: Callable[[Any], None]) -> None:
        """No longer."""
        self._listeners.remove(listener)

    async def close(self, *, timeout: float = 0) -> None:  # noqa: ARG002  # the driver's name
        """Say goodbye."""
        await self.process.alive()
        if not self.severed:
            self.lose()

    async def reset(self) -> None:
        """What the driver does between two users of a connection."""
        self._top_xact = None
        await self.execute("ROLLBACK;")

    def _get_unique_id(self, prefix: str) -> str:
        self._names += 1
        return f"{prefix}_{self._names}"

    async def execute(self, sql: str, *arguments: Any) -> str:
        """A statement; how many rows it wrote."""
        # A transaction can always be begun and given up.
        moody = sql not in {"BEGIN;", "ROLLBACK;"}
        done = await self._asked(lambda: self._executed(sql, arguments), moody=moody)
        return f"DONE {done}"

    async def fetch(self, sql: str, *arguments: Any) -> list[Mapping[str, Any]]:
        """Rows."""
        found: list[Mapping[str, Any]] = await self._asked(lambda: self._executed(sql, arguments))
        return found

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        """A value."""
        return await self._asked(lambda: self._executed(sql, arguments))

    async def copy_to_table(
        self,
        table: str,
        *,
        source: Any,
        columns: Sequence[str],
        format: str,  # noqa: ARG002
    ) -> None:
        """Rows as bytes."""
        assert table == "event_key"
        stream = b"".join([bytes(chunk) async for chunk in source])
        rows = [dict(zip(columns, row, strict=True)) for row in _rows_of(stream)]
        await self._asked(lambda: self._take_ids(rows))

    async def keep(self, rows: Sequence[tuple[Row, str, int]]) -> None:
        """What was stored of records: the row, the kind of the record, and the day it is for."""
        await self._asked(lambda: self._keep(rows))

    async def take(self, names: Sequence[tuple[int, str]], batch_seq: int) -> None:
        """Ids in their order."""
        await self._asked(lambda: self._take(names, batch_seq))

    async def _take(self, names: Sequence[tuple[int, str]], batch_seq: int) -> None:
        for name in names:
            await self._take_id(event_key(*name), (b"", batch_seq, 0))

    async def taken(self, names: Sequence[tuple[int, str]]) -> "set[tuple[int, str]]":
        """Which of these ids are taken."""
        seen: set[tuple[int, str]] = await self._asked(lambda: self._taken(names))
        return seen

    async def _taken(self, names: Sequence[tuple[int, str]]) -> "set[tuple[int, str]]":
        return {name for name in names if event_key(*name) in self.database.keys}

    async def _asked(self, statement: Callable[[], Any], *, moody: bool = True) -> Any:
        """A statement's way to the server and its answer's back; it goes on if nobody waits."""
        if self._busy is not None and not self._busy.done():
            # The driver waits for what it cancelled.
            await settled(asyncio.wait([self._busy]))
        await self.process.spend(0.01)
        if self.is_closed():
            raise asyncpg.InterfaceError("connection is closed")
        self._busy = _begun(self._served(statement, moody=moody))
        try:
            answer = await settled(self._busy)
        except asyncio.CancelledError:
            # The server is asked to give up, and may be done before it hears of it.
            if self.database.chance.random() < 0.5:
                self._busy.cancel()
            raise
        await self.process.alive()
        return answer

    async def _served(self, statement: Callable[[], Any], *, moody: bool) -> Any:
        chance, database = self.database.chance, self.database
        if chance.random() < database.trouble:
            database.note("connections lost")
            if chance.random() < 0.5:
                # What was sent still arrives, sooner or later.
                self.severed = True
                _begun(self._late(statement, chance.random() * SESSION_LOST_S))
            else:
                self.lose()
            raise asyncpg.ConnectionDoesNotExistError("connection was closed")
        if self.lost:
            raise asyncpg.ConnectionDoesNotExistError("connection was closed")
        if moody and chance.random() < database.mood:
            database.note("statements refused")
            return self._fail(chance.choice(MOODS)())
        try:
            done = await statement()
        except asyncpg.PostgresError as error:
            return self._fail(error)
        except asyncio.CancelledError:
            return self._fail(asyncpg.QueryCanceledError("canceling statement"))
        if chance.random() < database.trouble:
            database.note("answers lost")
            self.lose()
            raise asyncpg.ConnectionDoesNotExistError("connection was closed")
        return done

    async def _late(self, statement: Callable[[], Any], seconds: float) -> None:
        """The server does not know yet that nobody listens."""
        await asyncio.sleep(seconds)
        try:
            if not self.lost:
                self.database.note("late statements")
                await statement()
        finally:
            self.lose()

    def _fail(self, error: Exception) -> Any:
        if self.open is not None:
            self.open.failed = True
            # Locks of a failed transaction are held until it ends, as its rows would be.
        raise error

    async def _executed(self, sql: str, arguments: Sequence[Any]) -> Any:
        word = sql.split(maxsplit=1)[0].rstrip(";")
        if word in {"BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE"}:
            return self._command(sql, word)
        query = QUERIES[sql]
        if self.open is None:
            return await self._alone(sql, arguments)
        if self.open.failed:
            raise asyncpg.InFailedSQLTransactionError("transaction is aborted")
        given = dict(zip(query.parameters, arguments, strict=True))
        return await getattr(self, f"_{query.name}")(self.open, **given)

    async def _alone(self, sql: str, arguments: Sequence[Any]) -> Any:
        """A statement outside of a transaction is one."""
        self.open = Transaction()
        try:
            done = await self._executed(sql, arguments)
        except BaseException:
            self.rolled_back()
            raise
        self.database.commit(self.open)
        self.open = None
        return done

    def _command(self, sql: str, word: str) -> int:
        if word == "BEGIN":
            # A COMMIT that was refused has ended it.
            if self.open is not None and self.open.failed:
                self.rolled_back()
            self.open = self.open or Transaction()
        elif word == "COMMIT" and self.open is not None and not self.open.failed:
            self.database.commit(self.open)
            self.open = None
        elif word == "COMMIT" or sql == "ROLLBACK;":
            # So ends a transaction that failed, whatever it is asked.
            self.rolled_back()
        return 0

    async def _draw_batch_seq(self, _: Transaction) -> int:
        self.database.drawn += 1
        return self.database.drawn

    async def _ensure_partitions(self, _: Transaction, first_day: Any, days: int) -> int:
        before = len(self.database.days)
        self.database.days |= {first_day.toordinal() + n for n in range(days)}
        return len(self.database.days) - before

    async def _insert_position(
        self, own: Transaction, partition: int, next_offset: int, **_: Any
    ) -> int:
        await self.database.lock(own, ("position", partition))
        if partition in self.database.positions:
            return 0
        own.positions[partition] = next_offset
        return 1

    async def _find_positions(
        self, own: Transaction, partitions: Sequence[int], **_: Any
    ) -> list[Mapping[str, Any]]:
        seen = self.database.positions | own.positions
        return [{"partition": n, "next_offset": seen[n]} for n in partitions if n in seen]

    async def _move_position(
        self, own: Transaction, partition: int, expected: int, next_offset: int, **_: Any
    ) -> int:
        await self.database.lock(own, ("position", partition))
        if (self.database.positions | own.positions).get(partition) != expected:
            return 0
        own.positions[partition] = next_offset
        own.steps.append(Step(partition, expected, next_offset))
        return 1

    async def _insert_gap(
        self, own: Transaction, partition: int, from_offset: int, to_offset: int, **_: Any
    ) -> int:
        own.gaps.append(Step(partition, from_offset, to_offset))
        return 1

    async def _find_event_keys(
        self, own: Transaction, keys: Sequence[bytes]
    ) -> list[Mapping[str, Any]]:
        seen, found = self.database.keys | own.keys, list[Mapping[str, Any]]()
        for n, key in enumerate(keys, 1):
            if key in seen:
                digest, batch_seq, ordinal = seen[key]
                taken = {"digest": UUID(bytes=digest), "batch_seq": batch_seq, "ordinal": ordinal}
                found.append({"n": n, "owner": None, **taken})
        return found

    def _writing(self) -> Transaction:
        own = self.open
        assert own is not None, "it is only written inside a transaction"
        if own.failed:
            raise asyncpg.InFailedSQLTransactionError("transaction is aborted")
        return own

    async def _take_ids(self, rows: Sequence[Mapping[str, bytes]]) -> None:
        for row in rows:
            batch_seq = int.from_bytes(row["batch_seq"])
            for slot in range(SLOTS):
                if key := row[f"key_{slot}"]:
                    ordinal = int.from_bytes(row[f"ordinal_{slot}"])
                    await self._take_id(key, (row[f"digest_{slot}"], batch_seq, ordinal))

    async def _take_id(self, key: bytes, taken: tuple[bytes, int, int]) -> None:
        own = self._writing()
        await self.database.lock(own, ("key", key))
        if key in self.database.keys or key in own.keys:
            self.database.note("ids met")
            raise asyncpg.UniqueViolationError("duplicate key")
        own.keys[key] = taken

    async def _keep(self, rows: Sequence[tuple[Row, str, int]]) -> None:
        own = self._writing()
        for row, kind, day in rows:
            if kind in OF_KIND:
                raise OF_KIND[kind]()
            if day not in self.database.days:
                self.database.note("days made by a batch")
                raise asyncpg.CheckViolationError("no partition of relation found for row")
            own.rows.append(row)


def _begun(work: Any) -> "asyncio.Task[Any]":
    """Something that goes on by itself, whoever still wants to know what became of it."""
    task: asyncio.Task[Any] = asyncio.ensure_future(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task


def _rows_of(stream: bytes) -> Iterable[list[bytes]]:
    """The rows of a binary COPY."""
    at = 19
    while True:
        (count,) = struct.unpack_from(">h", stream, at)
        at += 2
        if count < 0:
            return
        row = []
        for _ in range(count):
            (size,) = struct.unpack_from(">i", stream, at)
            row.append(stream[at + 4 : at + 4 + size])
            at += 4 + max(size, 0)
        yield row
