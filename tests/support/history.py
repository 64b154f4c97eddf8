"""A database with many stored days, made on the server, for what is asked of a large ledger."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import asyncpg

from tests.support.database import Database

MAKE = Path(__file__).with_suffix(".sql").read_text()


@dataclass(frozen=True, slots=True)
class History:
    """How much there is: `days` of `batches` batches of `facts` facts, each of all customers.

    Without what is `beside` there are facts, their receipts, sums and charges, but neither keys of
    events, extras and tallies nor activity and cost.
    """

    days: int = 10
    batches: int = 100
    facts: int = 300
    customers: int = 50
    first_day: date = date(2026, 7, 28)
    beside: bool = True

    def midnight(self, day: int) -> datetime:
        """When the day so many days after the first begins, UTC."""
        return datetime.combine(self.first_day, time(), UTC) + timedelta(days=day)

    def batch_seqs(self, day: int) -> range:
        """The batches stored on that day."""
        return range(day * self.batches + 1, (day + 1) * self.batches + 1)


async def make_history(database: Database, history: History) -> None:
    """Fill an empty database, and let the planner know."""
    connection = await asyncpg.connect(database.superuser_url)
    try:
        await connection.execute(MAKE)
        await connection.execute(
            "SELECT make_history($1, $2, $3, $4, $5, $6)",
            history.first_day,
            history.days,
            history.batches,
            history.facts,
            history.customers,
            history.beside,
            timeout=3600,
        )
        await connection.execute("VACUUM (ANALYZE)", timeout=3600)
    finally:
        await connection.close()
