"""Reads what was entered, a page at a time, as whoever asks may see it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.store.queries import Reader, load_queries

RESOURCES = load_queries("resources")


@dataclass(frozen=True, slots=True)
class ListedRow:
    """A row of one of the lists: what its resource says, and where it stands in the list."""

    values: Mapping[str, object]
    position: Sequence[str]


def parameters_of(query: str) -> frozenset[str]:
    """What may be asked of a query of this room."""
    return frozenset(RESOURCES[query].parameters)


async def list_resource(
    connection: Reader,
    query: str,
    *,
    limit: int,
    key: str | None = None,
    entity_id: str | None = None,
    at: datetime | None = None,
    after: Sequence[str] | None = None,
) -> list[ListedRow]:
    """Rows of one of the queries of this room, in order of `sort_key`.

    `key` is an id, `at` a moment at which they hold, `after` the place of the row before.
    """
    asked = {"id": key, "entity_id": entity_id, "at": at, "after": after, "limit": limit}
    wanted = parameters_of(query)
    given = {name: value for name, value in asked.items() if name in wanted}
    rows = await RESOURCES[query].rows(connection, **given)
    return [_listed(**row) for row in rows]


def _listed(sort_key: Sequence[str], **values: object) -> ListedRow:
    return ListedRow(values, sort_key)
