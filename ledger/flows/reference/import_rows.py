"""Rows of a file entered one after the other, all of them or none."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ledger.domain.author import Author
from ledger.domain.errors import LedgerError
from ledger.flows.reference.count_entered import count_entered
from ledger.store.parties import count_manual_writes
from ledger.store.queries import Connection
from ledger.wire.inputs import InputModel

Enter = Callable[[Connection, Any, Author], Awaitable[object]]


def unseen(done: int, /) -> None:
    """Tell nobody."""


async def import_rows(
    connection: Connection,
    enter: Enter,
    rows: Sequence[tuple[int, InputModel]],
    *,
    author: Author,
    advance: Callable[[int], None] = unseen,
) -> dict[str, int]:
    """Enter (line, model) rows in one transaction; returns how many things were new, by noun.

    `author.request_id` must be new. The first refusal undoes all and names its line.
    """
    async with connection.transaction():
        for line, row in rows:
            try:
                await enter(connection, row, author)
            except LedgerError as error:
                raise type(error)(f"Line {line}: {error.wrong}", error.remedy) from error
            advance(1)
    await count_entered(connection)
    done = await count_manual_writes(connection, author.request_id)
    return {_noun(action): count for action, count in done.items()}


def _noun(action: str) -> str:
    verb, _, noun = action.partition(" ")
    return noun if verb == "enter" else f"{noun} {verb}"
