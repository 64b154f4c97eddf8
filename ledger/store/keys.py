"""API keys by their hashes, and their revocations."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from ledger.store.queries import Connection, load_queries

KEYS = load_queries("keys")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret: whose it is and what it may do.

    An ingest key writes `sources` only, and where `customers` is not empty usage of these only.
    """

    key_id: str
    key_hash: bytes
    role: str
    name: str
    entity_id: str | None
    customer_id: str | None
    sources: tuple[str, ...]
    customers: tuple[str, ...]
    tier: str | None
    created_at: datetime
    revoked_at: datetime | None


async def insert_api_key(
    connection: Connection, values: Mapping[str, object], *, batch_seq: int
) -> None:
    """Store a new key."""
    await KEYS["insert_api_key"].run(connection, **values, batch_seq=batch_seq)


async def find_api_keys(connection: Connection, key_ids: Collection[str]) -> dict[str, ApiKey]:
    """Those of these ids that are keys, revoked or not."""
    keys = await KEYS["find_api_keys"].values(connection, ApiKey, key_ids=list(key_ids))
    return {key.key_id: key for key in keys}


async def list_api_keys(connection: Connection) -> list[ApiKey]:
    """Every key, oldest first."""
    return await KEYS["list_api_keys"].values(connection, ApiKey)


async def insert_revocation(connection: Connection, key_id: str, *, batch_seq: int) -> None:
    """Revoke a key; once revoked it stays so since the first time."""
    await KEYS["insert_revocation"].run(connection, key_id=key_id, batch_seq=batch_seq)
