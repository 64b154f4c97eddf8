"""Brings a database to the newest schema; run by the owner role only."""

from importlib.resources import files

from alembic import command
from alembic.config import Config


def migrate(owner_url: str) -> None:
    """Upgrade the database at `owner_url` (postgresql://…, the owner role) to the newest schema.

    Blocking; must not be called from inside a running event loop.
    """
    config = Config()
    config.set_main_option("script_location", str(files("migrations")))
    config.set_main_option("path_separator", "os")
    url = owner_url.replace("postgresql://", "postgresql+asyncpg://", 1)
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    command.upgrade(config, "head")
