"""Ask as somebody under row-level security, as the API does."""

from ledger.store.connect import connect
from ledger.store.identity import Identity, find_identity_secret, say_who_asks
from ledger.store.queries import Connection
from tests.support.database import Database


async def ask_as(
    connection: Connection,
    database: Database,
    role: str,
    customer_id: str | None = None,
    entity_id: str | None = None,
) -> None:
    """Say who asks for the rest of `connection`'s transaction."""
    worker = await connect(database.worker_url)
    try:
        secret = await find_identity_secret(worker)
    finally:
        await worker.close()
    await say_who_asks(connection, Identity(role, customer_id, entity_id), secret=secret)
