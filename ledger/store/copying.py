"""COPY that ends with its connection.

asyncpg waits until it may write again, and a connection that is lost meanwhile never says so.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias

import asyncpg

from ledger.store.queries import Connection, Query

Buffer: TypeAlias = bytes | memoryview
PIECE_BYTES = 2**18


async def while_connected(connection: Connection, copy: Coroutine[Any, Any, Any]) -> None:
    """Await a COPY of `connection`; ConnectionDoesNotExistError where the connection is lost."""
    copying = asyncio.ensure_future(copy)

    def lost(_: object) -> None:
        copying.cancel()

    connection.add_termination_listener(lost)
    try:
        await copying
    except asyncio.CancelledError as error:
        if connection.is_closed():
            raise asyncpg.ConnectionDoesNotExistError("connection was lost in a COPY") from error
        raise
    finally:
        connection.remove_termination_listener(lost)


class Encoded(Protocol):
    """Rows as the stream of COPY, in the order of `columns`."""

    @property
    def columns(self) -> Sequence[str]:
        """What a row has."""

    def chunks(self) -> Iterator[Buffer]:
        """The stream, piece by piece."""


async def copy_binary(connection: Connection, table: str, encoded: Encoded) -> None:
    """Encoded rows into a table."""

    async def stream() -> AsyncIterator[bytes]:
        for chunk in encoded.chunks():
            yield chunk  # type: ignore[misc]  # asyncpg takes any buffer, and copies it

    copy = connection.copy_to_table(
        table, source=stream(), columns=list(encoded.columns), format="binary"
    )
    await while_connected(connection, copy)


async def copy_rows(
    connection: Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    """Rows into a table by binary COPY."""
    copy = connection.copy_records_to_table(table, columns=list(columns), records=rows)
    await while_connected(connection, copy)


async def copy_text(
    connection: Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]
) -> None:
    """Rows of texts, whole numbers, decimals and nothing by a COPY of text: of many decimals that
    takes a quarter of what their binary form does."""
    await copy_lines(connection, table, columns, map(fields_of, rows))


async def copy_lines(
    connection: Connection, table: str, columns: Sequence[str], lines: Iterable[str]
) -> None:
    """The same of rows whose fields are in a line each."""
    text = "".join([f"{line}\n" for line in lines]).encode()

    # What is read from like a file, asyncpg reads in a thread, piece by piece.
    async def stream() -> AsyncIterator[bytes]:
        for at in range(0, len(text), PIECE_BYTES):
            yield text[at : at + PIECE_BYTES]

    copy = connection.copy_to_table(table, source=stream(), columns=list(columns), format="text")
    await while_connected(connection, copy)


def fields_of(row: Sequence[object]) -> str:
    """A row, or some of its values, as fields of a line."""
    line = "\t".join([value if type(value) is str else str(value) for value in row])
    # Few have a sign that means something else to COPY, or might have nothing; a pattern of all
    # these would take longer than the rest.
    is_marked = "\\" in line or "None" in line or "\n" in line or "\r" in line
    if is_marked or line.count("\t") != len(row) - 1:
        return "\t".join(
            [r"\N" if value is None else str(value).translate(_ESCAPES) for value in row]
        )
    return line


_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


async def copy_out(connection: Connection, query: Query, **given: object) -> bytes:
    """The rows of a query as the stream that COPY gives."""
    parts: list[bytes] = []

    async def keep(data: bytes) -> None:
        parts.append(data)

    values = [given[parameter] for parameter in query.parameters]
    text = query.sql.rstrip().rstrip(";")
    await connection.copy_from_query(text, *values, output=keep, format="binary")
    return b"".join(parts)
