"""Sums of a period by dimensions and a step in time, as known at a cut-off, in order of groups."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from ledger.store.operations import USAGE_COUNTS
from ledger.store.queries import Connection, load_queries, with_counts

GROUPED = load_queries("grouped")
# Sums that are whole numbers without end.
COUNTS: Mapping[str, tuple[str, ...]] = {
    "sum_usage": USAGE_COUNTS,
    "sum_charges": ("quantity", "unpriced_quantity"),
}


async def read_groups(
    connection: Connection, what: str, size: int, **given: Any
) -> AsyncIterator[list[dict[str, Any]]]:
    """Groups of the query `what`, `size` at a time: their `place` and sums; in a transaction."""
    async for page in GROUPED[what].pages(connection, size, **given):
        yield with_counts(page, COUNTS[what])


async def list_groups(connection: Connection, what: str, **given: Any) -> list[dict[str, Any]]:
    """As many groups of the query `what` as asked for: their `place` and sums."""
    return with_counts(await GROUPED[what].rows(connection, **given), COUNTS[what])
