"""Brings a database to the newest schema; run by the owner role only."""

import asyncio
from importlib.resources import files

from alembic import command
from alembic.config import Config


def migrate(owner_url: str) -> None:
    """Upgrade the database at `owner_url` (postgresql://…, the owner role) to the newest schema.

    Blocking; must not be called from inside a running event loop (use `migrate_in_thread`).
    """
    config = Config()
    config.set_main_option("script_location", str(files("migrations")))
    config.set_main_option("path_separator", "os")
    url = owner_url.replace("postgresql://", "postgresql+asyncpg://", 1)
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    command.upgrade(config, "head")


async def migrate_in_thread(owner_url: str) -> None:
    """`migrate` for callers that already run an event loop."""
    await asyncio.to_thread(migrate, owner_url)
