"""`tokenledger export`: the books of a period as files for finance."""

from collections.abc import Sequence
from pathlib import Path

import click

from ledger import clock
from ledger.commands.database import Database, database_options
from ledger.commands.periods import Asked, find_scope, period_options
from ledger.commands.show import json_option, print_json
from ledger.exports import EXPORT_FORMATS
from ledger.reports.export import export_files
from ledger.store.connect import draw_cut_off
from ledger.store.queries import Connection


@click.command()
@click.argument("formats", nargs=-1, type=click.Choice([*EXPORT_FORMATS, "all"]), required=True)
@period_options
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="The folder the files go to; by default this one.",
)
@click.option("--stdout", "to_stdout", is_flag=True, help="Write the one file to stdout.")
@click.option("--raw", is_flag=True, help="Text as it is, for programs instead of spreadsheets.")
@json_option
@database_options
def export(
    database: Database,
    *,
    asked: Asked,
    formats: Sequence[str],
    output: Path,
    to_stdout: bool,
    raw: bool,
    as_json: bool,
) -> None:
    """Write the books of a period, all files as known at one cut-off."""
    chosen = tuple(EXPORT_FORMATS) if "all" in formats else tuple(dict.fromkeys(formats))
    if to_stdout and len(chosen) != 1:
        raise click.UsageError("--stdout takes one format")

    async def read(connection: Connection) -> dict[str, bytes]:
        scope = await find_scope(connection, asked, clock.now())
        cut_off = await draw_cut_off(connection, "export")
        return await export_files(
            connection,
            entity_id=scope.entity_id,
            since=scope.since,
            until=scope.until,
            cut_off=cut_off,
            formats=chosen,
            raw=raw,
        )

    files = database.run(read)
    if to_stdout:
        click.echo(next(iter(files.values())), nl=False)
        return
    written = _write(output, files)
    if as_json:
        print_json([{"file": str(path), "bytes": path.stat().st_size} for path in written])
    else:
        for path in written:
            click.echo(f"Wrote {path}.")


def _write(folder: Path, files: dict[str, bytes]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]
