"""`tokenledger backup` and `tokenledger restore`: the books in a folder, and back."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from pydantic import SecretStr

from ledger import clock
from ledger.commands.data.show import counted, json_option, print_json, progress
from ledger.commands.serve.database import Database, database_options, open_connection
from ledger.domain.errors import MissingInputError
from ledger.embedded.postgres import embedded_server
from ledger.flows.backup import back_up
from ledger.flows.restore import RestoreReport
from ledger.flows.restore import restore as run_restore
from ledger.settings import Settings
from ledger.store.backup_files import Manifest, read_manifest
from ledger.store.roles import OWNER, bootstrap_roles
from ledger.store.schema import known_revisions

folder_type = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.option("--to", "folder", required=True, type=folder_type, help="A new folder.")
@json_option
@database_options
def backup(database: Database, folder: Path, as_json: bool) -> None:
    """Copy the books into a folder: the database, archived facts, and the settings.

    Nothing has to stop meanwhile. A folder of the name is there when the backup is whole, and never
    before. Passwords and URLs are not in it: keep those where you keep secrets.
    """
    with database.urls() as urls:
        made = asyncio.run(_back_up(_owner(urls.owner), folder, database.settings))
    if as_json:
        print_json(_plain(folder, made))
        return
    click.echo(
        f"{_rows_of(made)} and {counted(len(made.files), 'file')}, {counted(made.size, 'byte')},"
        f" are in {folder.absolute()}."
    )


@click.command()
@click.argument("folder", type=folder_type)
@click.option("--archive", type=folder_type, help="Where archived facts shall lie.")
@json_option
@database_options
def restore(database: Database, folder: Path, archive: Path | None, as_json: bool) -> None:
    """Bring a backup into an empty database, all of it or nothing.

    With --data-dir it makes the embedded database there; otherwise TOKENLEDGER_OWNER_URL names a
    database that was made as docs/backup.md says. `tokenledger check` proves the result.
    """
    read_manifest(folder)
    with _empty_database(database) as (url, data_dir):
        if archive is None and data_dir is not None:
            archive = data_dir / "archive"
        done = asyncio.run(_restore(url, folder, archive))
    if as_json:
        print_json(_plain(folder, done.manifest) | {"archives": list(done.archives.values())})
        return
    _show(done)


def _show(done: RestoreReport) -> None:
    made = done.manifest
    click.echo(f"{_rows_of(made)} are back.")
    for name, target in done.archives.items():
        click.echo(f"Archived facts of {made.archives[name]} are in {target}.")
    if made.revision != known_revisions()[-1]:
        click.echo("They are of an earlier version: run `tokenledger migrate` first.")
    click.echo("Set passwords and URLs again, then run `tokenledger check`.")


def _rows_of(made: Manifest) -> str:
    tables = counted(len(made.rows), "table")
    return f"{counted(sum(made.rows.values()), 'row')} of {tables}"


@contextmanager
def _empty_database(database: Database) -> Iterator[tuple[str, Path | None]]:
    given = database.settings
    if database.data_dir is None and given.owner_url is not None:
        yield given.owner_url, None
        return
    folder = database.data_dir or given.data_dir
    with embedded_server(folder) as server:
        asyncio.run(bootstrap_roles(server.url(database="postgres")))
        yield server.url(OWNER), folder


def _owner(url: str | None) -> str:
    if url is None:
        raise MissingInputError(
            "The URL of the owner role is not set.", "Set TOKENLEDGER_OWNER_URL."
        )
    return url


async def _back_up(url: str, folder: Path, settings: Settings) -> Manifest:
    connection = await open_connection(url)
    try:
        with progress("bytes written") as advance:
            return await back_up(
                connection,
                url=url,
                folder=folder,
                settings=kept_settings(settings),
                now=clock.now(),
                progress=advance,
            )
    finally:
        await connection.close()


async def _restore(url: str, folder: Path, archive: Path | None) -> RestoreReport:
    connection = await open_connection(url, any_schema=True)
    try:
        with progress("bytes read", 2 * read_manifest(folder).size) as advance:
            return await run_restore(
                connection, url=url, folder=folder, archive=archive, progress=advance
            )
    finally:
        await connection.close()


def kept_settings(settings: Settings) -> dict[str, object]:
    """Every setting as text, and the names of secrets that are set and not kept here."""
    secret = [
        name
        for name, value in settings
        if isinstance(value, SecretStr) or (name.endswith("_url") and value is not None)
    ]
    kept = {
        name: value if isinstance(value, int) or value is None else str(value)
        for name, value in settings
        if name not in secret
    }
    return {
        "settings": kept,
        "secrets_not_kept": secret,
        "config_file": os.environ.get("TOKENLEDGER_CONFIG"),
    }


def _plain(folder: Path, made: Manifest) -> dict[str, object]:
    return {
        "folder": str(folder.absolute()),
        "made_at": made.made_at,
        "revision": made.revision,
        "rows": dict(made.rows),
        "files": len(made.files),
        "bytes": made.size,
    }
