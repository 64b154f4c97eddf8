"""`tokenledger logo`: the image above an entity's documents."""

from pathlib import Path

import click

from ledger.commands.options import FILE
from ledger.commands.run.periods import find_asked_entity
from ledger.commands.serve.database import Database, author_of, database_options
from ledger.domain.errors import InvalidInputError
from ledger.flows.reference.enter_logo import enter_logo
from ledger.store.queries import Connection


@click.command()
@click.argument("file", type=FILE, required=False)
@click.option("--entity", "entity_id", help="Whose; needed where there are several.")
@click.option("--remove", is_flag=True, help="In place of FILE: none any more.")
@click.option("--reason", default="given on the command line", help="Kept with it.")
@database_options
def logo(
    database: Database, *, file: Path | None, entity_id: str | None, remove: bool, reason: str
) -> None:
    """Put FILE (PNG or SVG, at most 100,000 bytes) above the documents of an entity that go out
    from now on."""
    if (file is None) is not remove:
        raise click.UsageError("name a file, or say --remove")
    content = file.read_bytes() if file is not None else b""
    if file is not None and not content:
        raise InvalidInputError(f"{file} is empty.", "Name a PNG or an SVG, or say --remove.")

    async def work(connection: Connection) -> str:
        named, _ = await find_asked_entity(connection, entity_id)
        await enter_logo(connection, named, content, author_of(reason))
        return named

    named = database.run(work)
    click.echo(f"{named} has {'no logo' if remove else 'this logo'} from now on.")
