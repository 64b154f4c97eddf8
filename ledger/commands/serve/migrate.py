"""`tokenledger migrate`: the newest schema, and partitions for the days ahead."""

import asyncio
from contextlib import suppress

import asyncpg
import click

from ledger import clock
from ledger.commands.serve.database import Database, DatabaseUrls, database_options, open_connection
from ledger.domain.errors import MissingInputError
from ledger.flows.metering.ingest import prepare_storage
from ledger.store.migrate import migrate as migrate_schema
from ledger.store.roles import bootstrap_roles
from ledger.store.schema import check_revision, find_revision


@click.command()
@database_options
def migrate(database: Database) -> None:
    """Bring the database to the newest schema, as the owner role."""
    with database.urls() as urls:
        migrate_urls(urls)
    click.echo("The database has the newest schema.")


def migrate_urls(urls: DatabaseUrls) -> None:
    """Roles first where a superuser may make them, then the schema, then partitions."""
    if urls.superuser is not None:
        postgres = urls.superuser.replace("/tokenledger?", "/postgres?", 1)
        asyncio.run(bootstrap_roles(postgres))
    if urls.owner is None:
        raise MissingInputError(
            "The URL of the owner role is not set.", "Set TOKENLEDGER_OWNER_URL."
        )
    asyncio.run(_answers(urls.owner))
    migrate_schema(urls.owner)
    asyncio.run(_prepare(urls.worker or urls.owner))


async def _prepare(url: str) -> None:
    connection = await open_connection(url)
    try:
        await prepare_storage(connection, now=clock.now())
    finally:
        await connection.close()


async def _answers(url: str) -> None:
    # A wrong URL, or books of a later version, are said in one line here rather than in a trace of
    # the migration's libraries.
    connection = await open_connection(url, any_schema=True)
    try:
        with suppress(asyncpg.UndefinedTableError):
            check_revision(await find_revision(connection), "The database")
    finally:
        await connection.close()
