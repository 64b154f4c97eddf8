"""Reads that say which key asks, each in one statement."""

import hmac
import re
from dataclasses import dataclass
from functools import lru_cache

import asyncpg

from ledger.store.identity import IDENTITY
from ledger.store.queries import Connection, Rows

# Where `read_by_key` has what is read.
READ = "(SELECT 'what is read')"


class KeyRefusedError(Exception):
    """The key is unknown to the database, or revoked."""


@dataclass(frozen=True, slots=True)
class AskingByKey:
    """A connection each of whose statements says which key asks, and is a transaction of its own.

    One way to the database and back for a read, where a transaction takes five. KeyRefusedError
    where the key does not hold any more when it is read.
    """

    connection: Connection
    key_id: str
    secret: bytes

    async def fetch(self, query: str, *args: object) -> Rows:
        """The rows that whoever asks may see."""
        proof = prove_key(self.key_id, self.connection.get_server_pid(), secret=self.secret)
        asked = _asked(query, len(args))
        try:
            return await self.connection.fetch(asked, *args, self.key_id, proof)
        except asyncpg.InvalidAuthorizationSpecificationError as error:
            raise KeyRefusedError from error

    async def fetchrow(self, query: str, *args: object) -> "asyncpg.Record | None":
        """The first of them, or None."""
        rows = await self.fetch(query, *args)
        return rows[0] if rows else None


def prove_key(key_id: str, session: int, *, secret: bytes) -> str:
    """What `ask_by_key` believes of a key in a session, given by the process of its server."""
    return hmac.new(secret, f"{session}/key/{key_id}".encode(), "sha256").hexdigest()


@lru_cache
def _asked(query: str, arguments: int) -> str:
    # The subquery in WHERE needs nothing of the rows: it is asked before any of them is read, and
    # were it asked later, row-level security would show none.
    around = re.sub(
        r"\$(\d)", lambda match: f"${int(match[1]) + arguments}", IDENTITY["read_by_key"].sql
    )
    return around.replace(READ, f"(\n{query.rstrip().rstrip(';')}\n)")
