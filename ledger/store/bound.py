"""Whose what is named is: the entities behind the names of slow facts."""

from collections.abc import Mapping

from ledger.store.queries import Connection, load_queries

BOUND = load_queries("bound")
# What may name something that leads to an entity.
NAMED = BOUND["find_entities_named"].parameters


async def find_entities_named(connection: Connection, names: Mapping[str, str | None]) -> set[str]:
    """Entities that own, or ever owned, what goes by these names; a field per kind, or None."""
    rows = await BOUND["find_entities_named"].rows(connection, **names)
    return {row["entity_id"] for row in rows}
