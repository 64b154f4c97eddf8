"""A transaction that stores nothing, and what came of it in the books before it is rolled back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict, Unpack

from ledger.domain.books.moved import MovedAccount, MovedCharge, MovedCost
from ledger.store.queries import Connection, load_queries

PREVIEW = load_queries("books/preview")


@asynccontextmanager
async def previewing(connection: Connection) -> AsyncIterator[None]:
    """A transaction of one snapshot that is rolled back on leaving, and could not be committed."""
    transaction = connection.transaction(isolation="repeatable_read")
    await transaction.start()
    try:
        await PREVIEW["begin_preview"].row(connection)
        yield
    finally:
        # Of a connection that is gone the transaction is gone as well.
        if not connection.is_closed():
            await transaction.rollback()


async def forget_hints(connection: Connection) -> None:
    """What one step told the planner, the next does not go by."""
    await PREVIEW["forget_hints"].run(connection)


class Behind(TypedDict):
    """What was stored behind a number, of an entity or of all."""

    entity_id: str | None
    since_seq: int


async def list_moved_accounts(
    connection: Connection, **behind: Unpack[Behind]
) -> list[MovedAccount]:
    """What was booked, by month, account and dimension."""
    return await PREVIEW["list_moved_accounts"].values(connection, MovedAccount, **behind)


async def list_moved_charges(connection: Connection, **behind: Unpack[Behind]) -> list[MovedCharge]:
    """What was charged, by month and customer."""
    return await PREVIEW["list_moved_charges"].values(connection, MovedCharge, **behind)


async def list_moved_costs(connection: Connection, **behind: Unpack[Behind]) -> list[MovedCost]:
    """What was allocated, by month, kind of cost and customer."""
    return await PREVIEW["list_moved_costs"].values(connection, MovedCost, **behind)
