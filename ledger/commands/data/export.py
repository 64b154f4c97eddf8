"""`tokenledger export`: the books of a period as files for finance."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ledger import clock
from ledger.commands.data.show import json_option, print_items
from ledger.commands.run.periods import Asked, find_scope, period_options
from ledger.commands.serve.database import Database, database_options
from ledger.exports import EXPORT_FORMATS
from ledger.reports.books.export import (
    INVOICES_BY,
    OF_INVOICES,
    SERVICE,
    How,
    export_everything,
    export_files,
)
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
@click.option(
    "--invoices-by",
    type=click.Choice(INVOICES_BY),
    default=SERVICE,
    show_default=True,
    help="Invoices and lines of usage in the period, or issued in it.",
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
    invoices_by: str,
    to_stdout: bool,
    raw: bool,
    as_json: bool,
) -> None:
    """Write the books of a period, all files as known at one cut-off.

    `all` leaves out what cannot be said, as a margin without its cost, and says so.
    """
    chosen = tuple(EXPORT_FORMATS) if "all" in formats else tuple(dict.fromkeys(formats))
    if to_stdout and len(chosen) != 1:
        raise click.UsageError("--stdout takes one format")

    async def read(connection: Connection) -> tuple[dict[str, bytes], dict[str, str]]:
        scope = await find_scope(connection, asked, clock.now())
        given: dict[str, Any] = {
            **{"entity_id": scope.entity_id, "since": scope.since, "until": scope.until},
            "how": How(raw, invoices_by),
            "cut_off": await draw_cut_off(connection, "export"),
        }
        if "all" in formats:
            return await export_everything(connection, **given)
        return await export_files(connection, **given, formats=chosen), {}

    files, left_out = database.run(read)
    if to_stdout:
        click.echo(next(iter(files.values())), nl=False)
        return
    written = _write(output, files)
    if as_json:
        print_items([{"file": str(path), "bytes": path.stat().st_size} for path in written])
    else:
        for path in written:
            click.echo(f"Wrote {path}{_chosen(path, invoices_by)}.")
    for name, why in left_out.items():
        click.echo(f"Left out {name}: {why}", err=True)


def _chosen(path: Path, invoices_by: str) -> str:
    if path.stem not in OF_INVOICES:
        return ""
    return ", of usage in the period" if invoices_by == SERVICE else ", issued in the period"


def _write(folder: Path, files: dict[str, bytes]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]
