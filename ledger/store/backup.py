"""Reads what a backup keeps beside its dump, and says where restored files lie."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import PurePath, PurePosixPath

from ledger.store.metering.archive_location import Location, location_of
from ledger.store.queries import Connection, load_queries

BACKUP = load_queries("backup")


@dataclass(frozen=True, slots=True)
class Home:
    """The schema of the books, and the migration they stand at."""

    schema_name: str
    revision: str


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """A file of archived facts: where it was recorded, and where it is now."""

    stored_day: date
    recorded: Location
    path: Location

    @property
    def root(self) -> Location:
        """The archive's folder as it was recorded: above table, day and file."""
        return self.recorded.parent.parent.parent

    @property
    def below(self) -> PurePath:
        """Where it lies in that folder."""
        return PurePosixPath(str(self.recorded).removeprefix(f"{self.root}/"))


async def export_snapshot(connection: Connection) -> str:
    """A name by which others see what this transaction sees."""
    return str(await BACKUP["export_snapshot"].value(connection))


async def find_home(connection: Connection) -> Home:
    """Where the books are; UndefinedTableError where there are none."""
    (home,) = await BACKUP["find_home"].values(connection, Home)
    return home


async def count_tables(connection: Connection) -> dict[str, int]:
    """Rows of every table."""
    query = BACKUP["count_rows"].sql
    names = [row["table_name"] for row in await BACKUP["list_tables"].rows(connection)]
    return {
        name: await connection.fetchval(query.replace("account", name.replace('"', '""')))
        for name in names
    }


async def list_archive_files(connection: Connection) -> list[ArchiveFile]:
    """Every file of archived facts, by day."""
    return [
        ArchiveFile(row["stored_day"], location_of(row["recorded"]), location_of(row["path"]))
        for row in await BACKUP["list_archive_roots"].rows(connection)
    ]


async def insert_archive_moves(
    connection: Connection, moves: Sequence[tuple[Location, Location]]
) -> None:
    """(recorded folder, where it is now) of archives that are elsewhere."""
    for from_folder, to_folder in moves:
        await BACKUP["insert_archive_move"].run(
            connection, from_folder=str(from_folder), to_folder=str(to_folder)
        )
