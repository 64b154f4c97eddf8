"""What a running ledger looks after, and what an operator asks it."""

from datetime import datetime
from typing import Any

import asyncpg

from ledger.domain.metering.fact import MARKS
from ledger.store.queries import Connection, load_queries, with_counts

OPERATIONS = load_queries("operations")
USAGE_COUNTS = ("requests", "uncached", "cache_read", "cache_write", "visible", "reasoning", *MARKS)
LAST = 2**63 - 1


async def sum_receipts_to_cut_off(connection: Connection) -> int | None:
    """Sum what arrived up to the last cut-off; None where another process is at it."""
    summed: int | None = await OPERATIONS["sum_receipts_to_cut_off"].value(connection)
    return summed


async def list_open_batches(connection: Connection) -> list[asyncpg.Record]:
    """Batch numbers drawn and not yet committed, oldest first, with the session of each."""
    return await OPERATIONS["list_open_batches"].rows(connection)


async def end_frozen_sessions(connection: Connection, *, quiet_s: int) -> list[asyncpg.Record]:
    """End own sessions that hold a batch number and did nothing for `quiet_s` seconds."""
    return await OPERATIONS["end_frozen_sessions"].rows(connection, quiet_s=quiet_s)


async def list_ended_sessions(connection: Connection, *, most: int) -> list[asyncpg.Record]:
    """The last sessions that were ended, newest first."""
    return await OPERATIONS["list_ended_sessions"].rows(connection, most=most)


async def list_source_states(connection: Connection) -> list[asyncpg.Record]:
    """Each source: what arrived by fate, when last, and its newest event's time."""
    return await OPERATIONS["list_source_states"].rows(connection)


async def sum_receipts(connection: Connection) -> asyncpg.Record:
    """What arrived in all, by fate."""
    row = await OPERATIONS["sum_receipts"].row(connection)
    assert row is not None
    return row


async def list_sequence_gaps(connection: Connection) -> list[asyncpg.Record]:
    """Batch numbers missing inside what a producer sent."""
    return await OPERATIONS["list_sequence_gaps"].rows(connection)


async def list_kafka_positions(connection: Connection) -> list[asyncpg.Record]:
    """How far each partition was read."""
    return await OPERATIONS["list_kafka_positions"].rows(connection)


async def list_kafka_gaps(connection: Connection) -> list[asyncpg.Record]:
    """Offsets the broker no longer had when we came for them."""
    return await OPERATIONS["list_kafka_gaps"].rows(connection)


async def list_stage_states(connection: Connection) -> list[asyncpg.Record]:
    """The newest run of each stage and how many batches were drawn since its cut-off."""
    return await OPERATIONS["list_stage_states"].rows(connection)


async def count_quarantined(connection: Connection) -> int:
    """Unreadable events that wait."""
    return int(await OPERATIONS["count_quarantined"].value(connection))


async def list_quarantine(
    connection: Connection, *, rows: int, before: int = LAST, reason: str | None = None
) -> list[asyncpg.Record]:
    """Unreadable events that wait, of a reason or any, newest first, with ids below `before`."""
    return await OPERATIONS["list_quarantine"].rows(
        connection, rows=rows, before=before, reason=reason
    )


async def count_dead_letters(connection: Connection) -> int:
    """Whole records that could not be stored and wait."""
    return int(await OPERATIONS["count_dead_letters"].value(connection))


async def find_quarantine_raw(connection: Connection, quarantine_id: int) -> asyncpg.Record | None:
    """The bytes of one, or None where they expired or never were."""
    return await OPERATIONS["find_quarantine_raw"].row(connection, quarantine_id=quarantine_id)


async def list_suspense(connection: Connection) -> list[dict[str, Any]]:
    """Usage nobody owns, by the customer its events name."""
    rows = await OPERATIONS["list_suspense"].rows(connection)
    return with_counts(rows, ("requests", "input_tokens", "output_tokens"))


async def sum_usage_marks(
    connection: Connection,
    *,
    since: datetime,
    until: datetime,
    batch_seq: int,
    customer_id: str | None = None,
) -> dict[str, int]:
    """Requests in [since, until), and how many of them lack what, by the names of MARKS."""
    rows = await OPERATIONS["sum_usage_marks"].rows(
        connection, since=since, until=until, batch_seq=batch_seq, customer_id=customer_id
    )
    return with_counts(rows, ("requests", *MARKS))[0]
