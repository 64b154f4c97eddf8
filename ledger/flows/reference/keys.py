"""API keys: made with a secret shown once, found by it, revoked for good.

A secret is 32 random bytes, so its plain SHA-256 cannot be searched for, and a slow password hash
would only make every request slow.
"""

import hashlib
import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass

from ledger.domain.author import Author
from ledger.domain.errors import NotFoundError
from ledger.flows.reference.supersede import keep_write, writing
from ledger.store.connect import draw_batch_seq
from ledger.store.keys import ApiKey, find_api_keys, insert_api_key, insert_revocation
from ledger.store.queries import Connection
from ledger.wire.inputs import NewApiKey

PREFIX = "tlk"
SECRET_BYTES = 32
ID_BYTES = 6


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """A new key; `text` is what its holder sends, and exists nowhere else."""

    key_id: str
    text: str


async def create_api_key(connection: Connection, new: NewApiKey, author: Author) -> CreatedKey:
    """Make a key; its customer and entity must exist."""
    key_id, secret = secrets.token_hex(ID_BYTES), secrets.token_urlsafe(SECRET_BYTES)
    async with writing(connection):
        batch_seq = await draw_batch_seq(connection)
        values = new.model_dump() | {
            "key_id": key_id,
            "key_hash": _hash(secret),
            "sources": list(new.sources),
            "customers": list(new.customers),
        }
        await insert_api_key(connection, values, batch_seq=batch_seq)
        await keep_write(
            connection,
            author,
            batch_seq=batch_seq,
            action="create API key",
            subject=key_id,
            detail=new.model_dump(),
        )
    return CreatedKey(key_id, f"{PREFIX}_{key_id}_{secret}")


def id_of(text: str) -> str:
    """The id of a key that is named by its id or by all of its text."""
    prefix, _, rest = text.partition("_")
    return rest.partition("_")[0] if prefix == PREFIX else text


async def revoke_api_key(connection: Connection, named: str, author: Author) -> None:
    """Revoke a key named by its id or by all of its text; NotFoundError where there is none.

    Revoking it again changes nothing.
    """
    key_id = id_of(named)
    async with writing(connection):
        key = (await find_api_keys(connection, [key_id])).get(key_id)
        if key is None:
            # What is no id may be the key itself, and nothing of it is repeated.
            said = named if named == key_id and len(named) <= 2 * ID_BYTES else "of this id"
            raise NotFoundError(f"There is no API key {said}.", "List them to see their ids.")
        if key.revoked_at is None:
            batch_seq = await draw_batch_seq(connection)
            await insert_revocation(connection, key_id, batch_seq=batch_seq)
            await keep_write(
                connection,
                author,
                batch_seq=batch_seq,
                action="revoke API key",
                subject=key_id,
                detail={},
            )


async def authenticate(connection: Connection, texts: Collection[str]) -> dict[str, ApiKey]:
    """The keys behind what callers sent; none for what is unknown, wrong or revoked."""
    parts = {text: _parts(text) for text in texts}
    ids = {key_id for key_id, secret in parts.values() if secret}
    keys = await find_api_keys(connection, ids) if ids else {}
    return {
        text: keys[key_id]
        for text, (key_id, secret) in parts.items()
        if key_id in keys and _opens(keys[key_id], secret)
    }


def opens(key: ApiKey, text: str) -> bool:
    """Whether this text is of this key, by what was known of it."""
    key_id, secret = _parts(text)
    return key_id == key.key_id and _opens(key, secret)


def _parts(text: str) -> tuple[str, str]:
    """The id and the secret of a key; nothing where it cannot be one."""
    prefix, _, rest = text.partition("_")
    key_id, _, secret = rest.partition("_")
    usable = prefix == PREFIX and key_id and text.isascii() and text.isprintable()
    return (key_id, secret) if usable else ("", "")


def _opens(key: ApiKey, secret: str) -> bool:
    return key.revoked_at is None and hmac.compare_digest(key.key_hash, _hash(secret))


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
