"""`tokenledger import grid`: what a kWh emits and drinks, from a file of any columns and zone."""

from collections.abc import Sequence
from pathlib import Path

import click

from ledger.commands.data.imports import report
from ledger.commands.data.preview import preview_option, print_preview
from ledger.commands.data.series_options import column_options, read_series
from ledger.commands.data.show import json_option
from ledger.commands.options import FILE, delimiter_option
from ledger.commands.serve.database import Database, author_of, database_options
from ledger.domain.author import Author
from ledger.flows.reference.enter_grid import enter_grid_factors
from ledger.store.queries import Connection
from ledger.wire.grid_inputs import GRID_KINDS, NewGridFactors
from ledger.wire.inputs import read_input


@click.command("grid")
@click.argument("file", type=FILE)
@click.option("--facility", "facility_id", required=True, help="The site.")
@click.option(
    "--kind",
    type=click.Choice(GRID_KINDS),
    required=True,
    help="Carbon in g CO2e by where the grid is or by what was contracted, or water in ml.",
)
@click.option("--source", required=True, help="Who says so, like Electricity Maps.")
@click.option("--factor-column", "value_column", required=True, help="What one kWh takes.")
@column_options("factor")
@delimiter_option
@click.option("--where", multiple=True, help="COLUMN=VALUE: only these rows.")
@click.option("--replace", is_flag=True, help="Supersede factors of the same times.")
@click.option("--reason", help="Kept with the factors; by default the file's name.")
@preview_option
@json_option
@database_options
def grid(
    database: Database,
    file: Path,
    *,
    facility_id: str,
    kind: str,
    source: str,
    delimiter: str,
    where: Sequence[str],
    replace: bool,
    reason: str | None,
    preview: bool,
    as_json: bool,
    **columns: object,
) -> None:
    """Enter what a kWh of a site emits or drinks, in whatever columns and zone a file has it."""
    series, rows = read_series(file, columns, noun="factor", delimiter=delimiter, where=where)
    said = {"facility_id": facility_id, "kind": kind, "source": source}
    factors = read_input(NewGridFactors, {**said, "factors": series.periods})
    author = author_of(reason, f"import of {file.name}")

    async def enter(connection: Connection, author: Author) -> int:
        return await enter_grid_factors(connection, factors, author, replace=replace)

    if preview:
        print_preview(database, enter, author, as_json=as_json)
        return
    written = database.run(lambda connection: enter(connection, author))
    for note in series.notes():
        click.echo(note, err=True)
    report("grid", rows=rows, entered={"factor": written}, as_json=as_json)
