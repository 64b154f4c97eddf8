"""Makes the partitions of the days ahead, so that facts have a place before they come."""

from datetime import datetime

from ledger.store.operations import ensure_partitions
from ledger.store.queries import Connection

DAYS_AHEAD = 7


async def prepare_days(connection: Connection, now: datetime) -> int:
    """Make what lacks of today and the days after; returns how many partitions that were."""
    return await ensure_partitions(connection, now.date(), days=DAYS_AHEAD)
