"""Reads conflicts with what both sides said, and keeps how they were resolved."""

from collections.abc import Collection, Sequence
from datetime import datetime

import asyncpg

from ledger.domain.author import Author
from ledger.store.operations import LAST
from ledger.store.queries import Connection, load_queries

CONFLICTS = load_queries("metering/conflicts")
# Of a batch that is shown.
STORED_MOST = 1_000
OFFER_COLUMNS = (
    *("batch_seq", "ordinal", "source_id", "offered", "items", "truncated", "binding"),
    "expires_at",
)


async def list_conflicts(
    connection: Connection,
    *,
    rows: int,
    before: int = LAST,
    source: str | None = None,
    resolved: bool = False,
) -> list[asyncpg.Record]:
    """Conflicts that wait, or with `resolved` all of them, newest first, ids below `before`."""
    return await CONFLICTS["list_conflicts"].rows(
        connection, rows=rows, before=before, source=source, resolved=resolved
    )


async def find_conflict(connection: Connection, conflict_id: int) -> asyncpg.Record | None:
    """One conflict, with what was offered as far as it is kept."""
    return await CONFLICTS["find_conflict"].row(connection, conflict_id=conflict_id)


async def count_conflicts(connection: Connection) -> int:
    """Conflicts that nobody has resolved."""
    return int(await CONFLICTS["count_conflicts"].value(connection))


async def list_stored(
    connection: Connection, *, batch_seq: int, first: int, items: int
) -> Sequence[asyncpg.Record]:
    """What is stored of `items` rows of a batch, whatever kind it is; none where it is archived."""
    for kind in ("usage", "readings", "counters", "gaps"):
        rows = await CONFLICTS[f"list_stored_{kind}"].rows(
            connection, batch_seq=batch_seq, first=first, until=first + items, most=STORED_MOST
        )
        if rows:
            return rows
    return []


async def insert_resolution(
    connection: Connection, conflict_id: int, resolution: str, author: Author, *, now: datetime
) -> bool:
    """Keep what became of a conflict; False where somebody said so before."""
    kept = await CONFLICTS["insert_resolution"].run(
        connection,
        conflict_id=conflict_id,
        resolution=resolution,
        actor=author.actor,
        reason=author.reason,
        resolved_at=now,
    )
    return kept == 1


async def count_offered(
    connection: Connection, source_ids: Collection[int], *, since: datetime, most: int
) -> dict[int, int]:
    """How many events of each source are kept that expire after `since`; `most` or more."""
    rows = await CONFLICTS["count_offered"].rows(
        connection, source_ids=sorted(source_ids), since=since, most=most
    )
    return {row["source_id"]: row["items"] for row in rows}


async def expire_offers(connection: Connection, *, now: datetime) -> int:
    """Delete what was offered once its time is over; returns how many."""
    return await CONFLICTS["expire_offers"].run(connection, now=now)
