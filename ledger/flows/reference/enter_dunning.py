"""Enters when entities remind customers of what is overdue, dated like all that people enter."""

from ledger.domain.author import Author
from ledger.flows.reference.enter import enter_dated
from ledger.flows.reference.supersede import writing
from ledger.store.billing import dunning
from ledger.store.queries import Connection
from ledger.wire.dunning_inputs import NewDunningPolicy


async def enter_dunning_policy(
    connection: Connection, new: NewDunningPolicy, author: Author, *, replace: bool = False
) -> int:
    """Record after how many days overdue an entity writes its letters; returns its row."""
    async with writing(connection):
        return await enter_dated(connection, dunning.POLICIES, new, author, replace)
