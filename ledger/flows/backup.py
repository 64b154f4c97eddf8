"""Copies the books: a dump of one state of the database, and the archive's files of that state.

Nothing has to stop for it. Whatever ends it early leaves no folder of the backup's name.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from ledger.domain.errors import UnavailableError
from ledger.store import backup as store
from ledger.store.backup import ArchiveFile, Home
from ledger.store.backup_files import (
    ARCHIVE,
    DUMP,
    SETTINGS,
    Manifest,
    copy_file,
    new_backup,
    seal_backup,
    write_json,
)
from ledger.store.pg_programs import running_program
from ledger.store.queries import Connection

LOOK_EVERY_S = 0.5
Progress = Callable[[int], None]


async def back_up(
    connection: Connection,
    *,
    url: str,
    folder: Path,
    settings: Mapping[str, object],
    now: datetime,
    progress: Progress,
) -> Manifest:
    """A whole backup in `folder`, as the owner role at `url`; `progress` gets bytes written.

    ConflictError where `folder` holds anything, UnavailableError where a file of the archive is not
    at hand.
    """
    with new_backup(folder) as unfinished:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            snapshot = await store.export_snapshot(connection)
            home = await store.find_home(connection)
            archived = await store.list_archive_files(connection)
            _check_at_hand(archived)
            dump = unfinished / DUMP
            await _dump(url, home, snapshot, dump, progress)
            rows = await store.count_tables(connection)
        folders = sorted({archived_file.root for archived_file in archived}, key=str)
        roots = {root: str(n) for n, root in enumerate(folders)}
        for archived_file in archived:
            target = unfinished / ARCHIVE / roots[archived_file.root] / archived_file.below
            for source in (archived_file.path, archived_file.path.with_name("manifest.json")):
                if await asyncio.to_thread(source.is_file):
                    await asyncio.to_thread(
                        copy_file, source, target.with_name(source.name), progress
                    )
        write_json(unfinished / SETTINGS, settings)
        manifest = Manifest(
            now.isoformat(),
            home.revision,
            home.schema_name,
            rows,
            {name: str(root) for root, name in roots.items()},
        )
        return await asyncio.to_thread(seal_backup, unfinished, manifest)


def _check_at_hand(archived: list[ArchiveFile]) -> None:
    for each in archived:
        if not each.path.is_file():
            raise UnavailableError(
                f"The archived facts of {each.stored_day} are not at {each.path}.",
                "Make the archive's directory or store available to this host: a backup without it"
                " is not whole.",
            )


async def _dump(url: str, home: Home, snapshot: str, path: Path, progress: Progress) -> None:
    path.touch(mode=0o600)
    arguments = (
        *("--format=custom", "--no-owner", f"--schema={home.schema_name}"),
        *(f"--snapshot={snapshot}", f"--file={path}"),
    )
    async with running_program("pg_dump", url, *arguments) as process:
        written = 0
        while process.returncode is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), LOOK_EVERY_S)
            size = path.stat().st_size
            progress(size - written)
            written = size
