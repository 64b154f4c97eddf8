"""Reads that only the API makes, under row-level security, and what makes its writes repeatable."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from uuid import UUID

import asyncpg

from ledger.store.queries import Connection, load_queries

READS = load_queries("api_reads")


async def find_idempotent(
    connection: Connection, *, key_id: str, idempotency_key: str
) -> asyncpg.Record | None:
    """request_digest, status and body of an answer given before, or None."""
    return await READS["find_idempotent"].row(
        connection, key_id=key_id, idempotency_key=idempotency_key
    )


@asynccontextmanager
async def one_at_a_time(
    connection: Connection, *, key_id: str, idempotency_key: str
) -> AsyncIterator[None]:
    """Wait for whoever writes under the same idempotency key, for as long as a request may wait.

    The lock is the session's: it outlasts transactions and goes with a session that is lost.
    """
    given = {"key_id": key_id, "idempotency_key": idempotency_key}
    await READS["lock_idempotent"].row(connection, **given)
    try:
        yield
    finally:
        await READS["unlock_idempotent"].row(connection, **given)


async def insert_idempotent(
    connection: Connection,
    *,
    key_id: str,
    idempotency_key: str,
    request_digest: UUID,
    status: int,
    body: bytes,
) -> None:
    """Keep the answer of a write."""
    await READS["insert_idempotent"].run(
        connection,
        key_id=key_id,
        idempotency_key=idempotency_key,
        request_digest=request_digest,
        status=status,
        body=body,
    )


async def is_ready(connection: Connection) -> bool:
    """Whether the database answers and has its schema."""
    return bool(await READS["is_ready"].value(connection) == 0)


async def spill(connection: Connection) -> None:
    """Write a megabyte to the disk of the database, and let it go; DiskFullError."""
    await READS["spill"].value(connection)


async def sum_hourly(
    connection: Connection,
    *,
    entity_id: str,
    since: datetime,
    until: datetime,
    step: str,
    zone_name: str,
) -> list[asyncpg.Record]:
    """hour (or day, by `step`), currency, revenue, cost and the idle part of it; cost None is
    unknown."""
    return await READS["sum_hourly"].rows(
        connection, entity_id=entity_id, since=since, until=until, step=step, zone=zone_name
    )


async def find_entity_zone(connection: Connection, *, entity_id: str) -> str | None:
    """The zone of an entity the caller may see, else None."""
    row = await READS["find_entity_zone"].row(connection, entity_id=entity_id)
    return None if row is None else str(row[0])


async def list_open_subscriptions(
    connection: Connection, *, customer_id: str, moment: datetime
) -> list[str]:
    """Subscriptions of a customer that hold at a moment, by id."""
    rows = await READS["list_open_subscriptions"].rows(
        connection, customer_id=customer_id, moment=moment
    )
    return [row[0] for row in rows]


async def latest_activity(
    connection: Connection, *, entity_id: str | None
) -> tuple[datetime, datetime] | None:
    """First and last window of an entity's usage, or None."""
    row = await READS["latest_activity"].row(connection, entity_id=entity_id)
    return None if row is None or row[0] is None else (row[0], row[1])
