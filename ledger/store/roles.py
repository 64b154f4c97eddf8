"""The database and its three roles, made by a superuser before the first migration."""

from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files

import asyncpg

from ledger.store.queries import Connection
from ledger.store.scram import scram_verifier

DATABASE = "tokenledger"
OWNER, WORKER, API = "tokenledger_owner", "tokenledger_worker", "tokenledger_api"
SUPERUSER = "postgres"


@dataclass(frozen=True, slots=True)
class RolePasswords:
    """Passwords of the three roles; None leaves a role's as it is, and a new role without one."""

    owner: str | None = None
    worker: str | None = None
    api: str | None = None


async def bootstrap_roles(superuser_url: str, passwords: RolePasswords | None = None) -> None:
    """Make the roles and the database `tokenledger`, owned by the owner; repeating is harmless.

    `superuser_url` names a database that exists, usually `postgres`.
    """
    connection = await asyncpg.connect(superuser_url)
    try:
        await _make_roles(connection, passwords or RolePasswords())
        with suppress(asyncpg.DuplicateDatabaseError):
            await connection.execute(_sql("database"))
    finally:
        await connection.close()
    await grant_database(superuser_url, DATABASE)


async def grant_database(superuser_url: str, database: str) -> None:
    """Give the roles their way into `database` and make the extensions the schema needs."""
    connection = await asyncpg.connect(superuser_url, database=database)
    try:
        await connection.execute(_sql("database_access"))
    finally:
        await connection.close()


async def _make_roles(connection: Connection, passwords: RolePasswords) -> None:
    # Verifiers travel as settings of this session, quoted by the server, and roles.sql clears them:
    # a password itself would stand in the server's log wherever that keeps statements.
    for kind in ("owner", "worker", "api"):
        secret = getattr(passwords, kind)
        await connection.execute(
            _sql("role_password"),
            f"tokenledger.{kind}_password",
            scram_verifier(secret) if secret else "",
        )
    await connection.execute(_sql("roles"))


def _sql(name: str) -> str:
    return (files("migrations") / "sql" / f"{name}.sql").read_text()
