"""Books for commands that keep house: four facts of a day, and room for the next."""

from datetime import UTC, datetime, timedelta

from ledger.flows.metering.ingest import prepare_storage
from ledger.store.connect import connect
from tests.support.usage import Gate, attempt, keyed, open_books

STORED = datetime(2026, 8, 6, 12, tzinfo=UTC)


async def fill(url: str) -> None:
    """Store four events, each in a batch of its own."""
    connection = await connect(url)
    try:
        await open_books(connection)
        gate = Gate(connection)
        for n in range(4):
            await gate.send(keyed(attempt(f"e{n}", minute=n)))
        await prepare_storage(connection, now=STORED + timedelta(days=1))
    finally:
        await connection.close()
