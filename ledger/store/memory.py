"""How much memory the statements of a transaction may take."""

from ledger.store.queries import Connection, load_queries

MEMORY = load_queries("memory")


async def allow_memory(connection: Connection) -> None:
    """Room to sort and group in, for the transaction."""
    await MEMORY["allow_memory"].run(connection)
