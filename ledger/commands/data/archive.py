"""`tokenledger archive`: move the facts of finished days to files."""

from datetime import date, datetime, timedelta
from pathlib import Path

import click

from ledger import clock
from ledger.commands.data.show import counted, json_option, print_json, print_table, progress
from ledger.commands.serve.database import Database, database_options
from ledger.domain.errors import InvalidInputError
from ledger.flows.metering.archive import ArchiveReport
from ledger.flows.metering.archive import archive as run_archive


@click.command()
@click.option("--before", type=click.DateTime(["%Y-%m-%d"]), help="Days stored before this one.")
@click.option("--days", type=click.IntRange(1, 100_000), help="Days older than this many.")
@click.option(
    "--to",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    help="The archive's directory.",
)
@json_option
@database_options
def archive(
    database: Database, before: datetime | None, days: int | None, folder: Path, as_json: bool
) -> None:
    """Write the usage facts of old days to Parquet files, check them, and drop them here.

    Sums, charges and invoices stay in the database, and so does what finds duplicates. Reports of
    single events and corrections read the files, so keep the directory where it is.
    """
    today = clock.now().date()
    until = _before(before, days, today)
    with progress("facts archived") as advance:
        done = database.run(
            lambda c: run_archive(c, before=until, today=today, folder=folder, progress=advance)
        )
    if as_json:
        print_json(_plain(done))
        return
    rows = [
        (archived_day.day.stored_day, archived_day.day.rows, archived_day.path)
        for archived_day in done.archived
    ]
    if rows:
        print_table("Archived", ("stored day", "facts", "file"), rows)
    for kept in done.kept:
        click.echo(f"{kept.stored_day} stays: {kept.reason}.")
    stay = f"{len(done.kept):,} {'stays' if len(done.kept) == 1 else 'stay'}"
    click.echo(f"{counted(len(rows), 'day')} archived, {stay}.")


def _before(before: datetime | None, days: int | None, today: date) -> date:
    if (before is None) == (days is None):
        raise InvalidInputError("Say which days: --before DATE or --days N, one of them.")
    return before.date() if before is not None else today - timedelta(days=days or 0)


def _plain(done: ArchiveReport) -> dict[str, object]:
    archived = [
        {
            "stored_day": archived_day.day.stored_day,
            "rows": archived_day.day.rows,
            "path": str(archived_day.path),
            "sha256": archived_day.sha256.hex(),
        }
        for archived_day in done.archived
    ]
    return {"archived": archived, "kept": done.kept}
