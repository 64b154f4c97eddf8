"""The one place where a key bound to an entity is held to it, before anything is written."""

from collections.abc import Mapping
from typing import Any

from ledger.domain.errors import ForbiddenError
from ledger.store.bound import NAMED, find_entities_named
from ledger.store.queries import Connection

LEADS_TO_ENTITY = frozenset({"entity_id", *NAMED})


async def check_bound(connection: Connection, entity_id: str, concerns: Mapping[str, Any]) -> None:
    """ForbiddenError where a field of `concerns` names something of another entity.

    What names nothing anybody has is let through: the flow says that it does not exist. What names
    no field of those that lead to an entity is of them all, and refused.
    """
    named = {name: concerns.get(name) for name in NAMED}
    said = concerns.get("entity_id")
    entities = await find_entities_named(connection, named)
    entities |= {said} if said is not None else set()
    if entities - {entity_id} or not any([said, *named.values()]):
        raise ForbiddenError(
            f"This key is bound to entity {entity_id}, and this concerns others.",
            "Use a key that is bound to no entity.",
        )
