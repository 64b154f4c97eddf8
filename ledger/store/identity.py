"""Who asks, told to row-level security so that no query of the api role could have said it."""

import hmac
import json
from dataclasses import dataclass

from ledger.store.queries import Connection, load_queries

IDENTITY = load_queries("identity")


@dataclass(frozen=True, slots=True)
class Identity:
    """The role of a key, its customer, and the entity it is bound to; None where it has none."""

    role: str
    customer_id: str | None = None
    entity_id: str | None = None


async def find_identity_secret(worker: Connection) -> bytes:
    """The key that signs who asks; the worker may read it, the api may not."""
    return bytes(await IDENTITY["find_identity_secret"].value(worker))


async def say_who_asks(connection: Connection, identity: Identity, *, secret: bytes) -> None:
    """Tell row-level security who asks; holds in this transaction of this session alone."""
    asking = await IDENTITY["find_asking_place"].value(connection)
    said = json.dumps(
        {
            "role": identity.role,
            "customer": identity.customer_id,
            "entity": identity.entity_id,
        }
    )
    signature = hmac.new(secret, f"{asking}/{said}".encode(), "sha256").hexdigest()
    await IDENTITY["say_who_asks"].row(connection, said=said, signature=signature)
