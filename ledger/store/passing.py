"""Tells what passes by itself from what would fail again: a database that is away, full or busy."""

from collections.abc import Iterator

import asyncpg

# Classes of SQLSTATE that pass by themselves: connections, resources (a full disk among them),
# an operator's doing, the system below, and transactions undone or left alone for too long.
_PASSING = ("08", "53", "57", "58", "25P03", "25P04", "40", "55P03")


def passes_by_itself(error: BaseException) -> bool:
    """Whether the same may succeed a moment later, whatever it was asked.

    An error while a transaction ends hides the one that ended it: both are looked at.
    """
    return any(map(_passes, _chain(error)))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _passes(error: BaseException) -> bool:
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate).startswith(_PASSING)
    # What is asked of a connection that was told of its end, or of a pool that is closing; what
    # the client itself finds wrong with a value is a ValueError as well.
    if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError):
        return not isinstance(error, ValueError)
    return isinstance(error, ConnectionError | TimeoutError)
