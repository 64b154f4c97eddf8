"""Reads that only the API makes, under row-level security, and what makes its writes repeatable."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from ledger.domain.period import Period
from ledger.store.pricing.charged import AS_IT_STANDS, find_charged
from ledger.store.queries import Connection, Reader, load_queries

READS = load_queries("api_reads")


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """What was answered to a request before."""

    request_digest: UUID
    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class HourlySum:
    """Revenue and cost of an hour (or day) in a currency, and the idle part of the cost; a cost of
    None is unknown."""

    hour: datetime
    currency: str
    revenue: Decimal
    cost: Decimal | None
    idle: Decimal | None


async def find_idempotent(
    connection: Connection, *, key_id: str, idempotency_key: str
) -> GivenAnswer | None:
    """The answer given before under a key, or None."""
    return await READS["find_idempotent"].first(
        connection, GivenAnswer, key_id=key_id, idempotency_key=idempotency_key
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
) -> list[HourlySum]:
    """Revenue and cost of each hour, or day, by `step`."""
    asked = await find_charged(
        connection,
        Period(since, until),
        batch_seq=AS_IT_STANDS,
        entity_id=entity_id,
        days_of=zone_name,
        in_days=step == "day",
    )
    return await READS["sum_hourly"].values(
        connection,
        HourlySum,
        entity_id=entity_id,
        since=since,
        until=until,
        step=step,
        zone=zone_name,
        asked=asked,
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
    connection: Reader, *, entity_id: str | None
) -> tuple[datetime, datetime] | None:
    """First and last window of an entity's usage, or None."""
    row = await READS["latest_activity"].row(connection, entity_id=entity_id)
    return None if row is None or row[0] is None else (row[0], row[1])
