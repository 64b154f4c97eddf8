"""`tokenledger export`: the books of a period as files for finance."""

import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import IO

import click

from ledger import clock
from ledger.commands.data.show import json_option, print_items
from ledger.commands.files import whole_file
from ledger.commands.run.periods import AskedPeriod, find_scope, period_options
from ledger.commands.serve.database import Database, database_options
from ledger.domain.errors import MissingInputError
from ledger.exports import EXPORT_FORMATS
from ledger.reports.books.export import INVOICES_BY, OF_INVOICES, SERVICE, BooksOf, How, export_file
from ledger.store.connect import draw_cut_off
from ledger.store.queries import Connection

ABOUT = f"""Write the books of a period in each FORMAT, all files as known at one cut-off.

FORMAT is one of {", ".join(EXPORT_FORMATS)}; or `all`, which leaves out what cannot be said, as a
margin without its cost, or has no row, and says so."""


@click.command(help=ABOUT)
@click.argument(
    "formats",
    nargs=-1,
    type=click.Choice([*EXPORT_FORMATS, "all"]),
    required=True,
    metavar="FORMAT...",
)
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
    asked: AskedPeriod,
    formats: Sequence[str],
    output: Path,
    invoices_by: str,
    to_stdout: bool,
    raw: bool,
    as_json: bool,
) -> None:
    chosen = tuple(EXPORT_FORMATS) if "all" in formats else tuple(dict.fromkeys(formats))
    if to_stdout and len(chosen) != 1:
        raise click.UsageError("--stdout takes one format")
    how = How(raw, invoices_by, empty="all" not in formats)

    async def write(connection: Connection) -> tuple[list[Path], dict[str, str]]:
        scope = await find_scope(connection, asked, clock.now())
        cut_off = await draw_cut_off(connection, "export")
        books = BooksOf(scope.entity_id, scope.since, scope.until, cut_off)
        files = {name: export_file(connection, name, books, how) for name in chosen}
        if to_stdout:
            await _write_parts(files[chosen[0]], sys.stdout.buffer)
            return [], {}
        return await _write_files(output, files, skip="all" in formats)

    written, left_out = database.run(write)
    if as_json and not to_stdout:
        print_items([{"file": str(path), "bytes": path.stat().st_size} for path in written])
    else:
        for path in written:
            click.echo(f"Wrote {path}{_chosen(path, invoices_by)}.")
    for name, why in left_out.items():
        click.echo(f"Left out {name}: {why}", err=True)


async def _write_files(
    folder: Path, files: Mapping[str, AsyncIterator[bytes]], *, skip: bool
) -> tuple[list[Path], dict[str, str]]:
    """Every file, and why some were left out: `skip` those that lack what they are made of."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    left_out: dict[str, str] = {}
    for name, parts in files.items():
        path = folder / EXPORT_FORMATS[name].filename
        try:
            with whole_file(path) as file:
                await _write_parts(parts, file)
        except MissingInputError as error:
            if not skip:
                raise
            left_out[path.name] = str(error)
        else:
            written.append(path)
    return written, left_out


async def _write_parts(parts: AsyncIterator[bytes], file: IO[bytes]) -> None:
    async for part in parts:
        file.write(part)


def _chosen(path: Path, invoices_by: str) -> str:
    if path.stem not in OF_INVOICES:
        return ""
    return ", of usage in the period" if invoices_by == SERVICE else ", issued in the period"
