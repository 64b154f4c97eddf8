"""Turns the `.sql` files of the store into queries that can be awaited; no other file holds SQL."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import aiosql
import asyncpg
from aiosql.adapters.asyncpg import AsyncPGAdapter

from ledger.store.values import Value, values_of

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    # One that is of no pool, one of either kind, and a pool.
    OwnConnection: TypeAlias = asyncpg.Connection[asyncpg.Record]
    Connection: TypeAlias = OwnConnection | PoolConnectionProxy[asyncpg.Record]
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
else:
    OwnConnection = Connection = asyncpg.Connection
    Pool = asyncpg.Pool

Rows: TypeAlias = "list[asyncpg.Record]"


class Reader(Protocol):
    """What statements that only read are asked of."""

    async def fetch(self, query: str, /, *args: object) -> Rows:
        """All rows."""

    async def fetchrow(self, query: str, /, *args: object) -> "asyncpg.Record | None":
        """The first row, or None."""


# It warns of every INSERT without an operator of its own dialect; we execute the texts ourselves.
logging.getLogger("aiosql").setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class Query:
    """One named query: its text with `$n` places, and the parameter names in that order."""

    name: str
    sql: str
    parameters: tuple[str, ...]

    async def rows(self, connection: Reader, **given: object) -> Rows:
        """All rows."""
        return await connection.fetch(self.sql, *self._arguments(given))

    async def row(self, connection: Reader, **given: object) -> asyncpg.Record | None:
        """The first row, or None."""
        return await connection.fetchrow(self.sql, *self._arguments(given))

    async def values(
        self, connection: Reader, kind: Callable[..., Value], /, **given: object
    ) -> list[Value]:
        """All rows as values, as `values_of` makes them."""
        return values_of(kind, await self.rows(connection, **given))

    async def first(
        self, connection: Reader, kind: Callable[..., Value], /, **given: object
    ) -> Value | None:
        """The first row as a value, or None."""
        row = await self.row(connection, **given)
        return None if row is None else values_of(kind, [row])[0]

    async def value_pages(
        self, connection: Connection, kind: Callable[..., Value], size: int, /, **given: object
    ) -> AsyncIterator[list[Value]]:
        """All rows as values, `size` at a time; needs a transaction."""
        async for page in self.pages(connection, size, **given):
            yield values_of(kind, page)

    async def value(self, connection: Connection, **given: Any) -> Any:
        """The first column of the first row, or None."""
        return await connection.fetchval(self.sql, *self._arguments(given))

    async def pages(
        self, connection: Connection, size: int, **given: object
    ) -> AsyncIterator[list[asyncpg.Record]]:
        """All rows, `size` at a time; needs a transaction."""
        cursor = await connection.cursor(self.sql, *self._arguments(given))
        while page := await cursor.fetch(size):
            yield page

    async def run(self, connection: Connection, **given: object) -> int:
        """Execute and return how many rows were written."""
        status = await connection.execute(self.sql, *self._arguments(given))
        last = status.rpartition(" ")[2]
        return int(last) if last.isdigit() else 0

    def _arguments(self, given: Mapping[str, object]) -> list[object]:
        if given.keys() != set(self.parameters):
            raise TypeError(f"query {self.name} takes {self.parameters}, got {tuple(given)}")
        return [given[name] for name in self.parameters]


class Queries(dict[str, Query]):
    """The queries of one file, by name: `queries["find_customer"]`."""


@cache
def load_queries(name: str) -> Queries:
    """Queries of `store/NAME.sql`, say `metering/ingest`; FileNotFoundError where it is not."""
    adapter = AsyncPGAdapter()  # type: ignore[no-untyped-call]
    with as_file(files("ledger.store") / f"{name}.sql") as path:
        loaded = aiosql.from_path(path, lambda: adapter, attribute=None, mandatory_parameters=False)
    queries = Queries()
    for query in loaded.available_queries:
        if query.endswith("_cursor"):
            continue
        text = getattr(loaded, query).sql
        queries[query] = Query(query, text, tuple(adapter.var_sorted[query]))
    return queries
