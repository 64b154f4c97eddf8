"""Sums of a period by dimensions and a step in time, as known at a cut-off, in order of groups."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import asyncpg

from ledger.store.operations import USAGE_COUNTS
from ledger.store.queries import Connection, load_queries

GROUPED = load_queries("grouped")
# Sums that are whole numbers without end.
COUNTS: Mapping[str, tuple[str, ...]] = {
    "sum_usage": USAGE_COUNTS,
    "sum_extras": ("quantity",),
    "sum_charges": ("quantity", "unpriced_quantity"),
}


class Group(NamedTuple):
    """Where a group stands: what it is of; and its sums by the names that the query gives them."""

    position: Sequence[str]
    sums: Mapping[str, Any]


async def read_groups(
    connection: Connection, what: str, size: int, **given: object
) -> AsyncIterator[list[Group]]:
    """Groups of the query `what`, `size` at a time; in a transaction."""
    async for page in GROUPED[what].pages(connection, size, **given):
        yield _groups(what, page)


async def list_groups(connection: Connection, what: str, **given: object) -> list[Group]:
    """As many groups of the query `what` as asked for."""
    return _groups(what, await GROUPED[what].rows(connection, **given))


def _groups(what: str, rows: Iterable[asyncpg.Record]) -> list[Group]:
    counts = COUNTS[what]
    return [_group(counts, **row) for row in rows]


def _group(counts: Sequence[str], sort_key: Sequence[str], **sums: Any) -> Group:
    for name in counts:
        sums[name] = int(sums[name])
    return Group(sort_key, sums)
