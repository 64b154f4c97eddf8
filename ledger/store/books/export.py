"""Rows that exports and the revenue report are made of, as known at a cut-off."""

from datetime import datetime
from typing import Any

import asyncpg

from ledger.store.operations import USAGE_COUNTS
from ledger.store.queries import Connection, load_queries, with_counts

EXPORT = load_queries("books/export")


async def find_entity(
    connection: Connection, *, entity_id: str, at: datetime
) -> asyncpg.Record | None:
    """entity_id, name, currency and zone, or None."""
    return await EXPORT["find_entity"].row(connection, entity_id=entity_id, at=at)


async def find_issued_invoices(
    connection: Connection, *, by_service: bool, **within: Any
) -> list[dict[str, Any]]:
    """Invoices of usage in [since, until) (`by_service`), or issued in it."""
    rows = await EXPORT["find_issued_invoices"].rows(connection, by_service=by_service, **within)
    return [dict(row) for row in rows]


async def find_issued_lines(
    connection: Connection, *, by_service: bool, **within: Any
) -> list[dict[str, Any]]:
    """Lines of usage in [since, until) (`by_service`), or of invoices issued in it."""
    rows = await EXPORT["find_issued_lines"].rows(connection, by_service=by_service, **within)
    return with_counts(rows, ["quantity"])


async def find_usage(
    connection: Connection, *, entity_id: str, since: datetime, until: datetime, batch_seq: int
) -> list[dict[str, Any]]:
    """Tokens by window and who used what, and how many requests lack what."""
    rows = await EXPORT["find_usage"].rows(
        connection, entity_id=entity_id, since=since, until=until, batch_seq=batch_seq
    )
    return with_counts(rows, USAGE_COUNTS)


async def find_priced_usage(
    connection: Connection, *, entity_id: str, since: datetime, until: datetime, batch_seq: int
) -> list[dict[str, Any]]:
    """Charges by customer, tier, agent, model, meter and currency (None: no card)."""
    rows = await EXPORT["find_priced_usage"].rows(
        connection, entity_id=entity_id, since=since, until=until, batch_seq=batch_seq
    )
    return with_counts(rows, ("tokens", "unpriced_tokens"))
