"""What stands of rows that were loaded before."""

from collections.abc import Sequence

from ledger.store.queries import Connection, load_queries

BACKFILL = load_queries("backfill")


async def find_standing_corrections(
    connection: Connection, *, source: str, targets: Sequence[str]
) -> dict[str, tuple[int, str]]:
    """(revision, event id) of the correction that stands, for each event that has one."""
    rows = await BACKFILL["find_standing_corrections"].rows(
        connection, source=source, targets=list(targets)
    )
    return {row["target"]: (row["revision"], row["event_id"]) for row in rows}
