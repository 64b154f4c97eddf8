"""`tokenledger archive`: move facts, extras and readings of finished days to files."""

from datetime import date, datetime, timedelta

import click

from ledger import clock
from ledger.commands.data.show import counted, json_option, print_json, print_table, progress
from ledger.commands.serve.database import Database, database_options
from ledger.domain.errors import InvalidInputError
from ledger.flows.metering.archive import ArchiveReport
from ledger.flows.metering.archive import archive as run_archive
from ledger.store.metering.archive_location import location_of


@click.command()
@click.option("--before", type=click.DateTime(["%Y-%m-%d"]), help="Days stored before this one.")
@click.option("--days", type=click.IntRange(1, 100_000), help="Days older than this many.")
@click.option(
    "--to",
    "location",
    required=True,
    metavar="DIR|URL",
    help="The archive's directory, or an object store: s3://bucket/folder, gs://…, az://….",
)
@click.option("--iceberg", is_flag=True, help="Describe what lies there as Iceberg tables too.")
@json_option
@database_options
def archive(
    database: Database,
    before: datetime | None,
    days: int | None,
    location: str,
    iceberg: bool,
    as_json: bool,
) -> None:
    """Write facts, extras and readings of old days to checked Parquet files, and drop them here.

    Sums, charges and invoices stay in the database, and so does what finds duplicates, and of
    readings the first and last of each meter and day. Reports of single events, corrections and
    costs that change read the files, so keep them where they are. Who may reach an
    object store is said by the environment, as its own tools read it (AWS_ACCESS_KEY_ID, …).
    """
    today = clock.now().date()
    folder = location_of(location)
    until = _before(before, days, today)
    with progress("rows archived") as advance:
        done = database.run(
            lambda c: run_archive(
                c, before=until, today=today, folder=folder, iceberg=iceberg, progress=advance
            )
        )
    if as_json:
        print_json(_plain(done))
        return
    rows = [
        (archived_day.day.stored_day, archived_day.day.rows, archived_day.path)
        for archived_day in done.archived
    ]
    if rows:
        print_table("Archived", ("stored day", "rows", "file"), rows)
    for kept in done.kept:
        click.echo(f"{kept.stored_day} stays: {kept.reason}.")
    if done.described:
        print_table("Iceberg", ("table", "metadata"), list(done.described.items()))
    gone, left = {row[0] for row in rows}, {kept.stored_day for kept in done.kept}
    stay = f"{len(left):,} {'stays' if len(left) == 1 else 'stay'}"
    click.echo(f"{counted(len(gone), 'day')} archived, {stay}.")


def _before(before: datetime | None, days: int | None, today: date) -> date:
    if (before is None) == (days is None):
        raise InvalidInputError("Say which days: --before DATE or --days N, one of them.")
    return before.date() if before is not None else today - timedelta(days=days or 0)


def _plain(done: ArchiveReport) -> dict[str, object]:
    archived = [
        {
            "table": archived_day.table,
            "stored_day": archived_day.day.stored_day,
            "rows": archived_day.day.rows,
            "path": str(archived_day.path),
            "sha256": archived_day.sha256.hex(),
        }
        for archived_day in done.archived
    ]
    described = {table: str(path) for table, path in done.described.items()}
    return {"archived": archived, "kept": done.kept, "iceberg": described}
