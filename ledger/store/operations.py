"""What a running ledger looks after, and what an operator asks it."""

from datetime import date

from ledger.store.queries import Connection, load_queries

OPERATIONS = load_queries("operations")


async def ensure_partitions(connection: Connection, first_day: date, *, days: int) -> int:
    """Make the partitions of `days` days from `first_day`; returns how many were missing."""
    return int(
        await OPERATIONS["ensure_partitions"].value(connection, first_day=first_day, days=days)
    )
