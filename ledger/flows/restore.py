"""Brings a backup back into an empty database, all or nothing, and its archive into a folder.

The dump goes in as one transaction: ended anywhere, the database is as empty as before.
"""

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ledger.domain.errors import ConflictError, MissingInputError
from ledger.store import backup as store
from ledger.store.backup_files import (
    ARCHIVE,
    DUMP,
    Manifest,
    copy_file,
    read_manifest,
    verify_files,
)
from ledger.store.metering.archive_files import sha256_of
from ledger.store.metering.archive_location import location_of
from ledger.store.pg_programs import read_program, running_program
from ledger.store.queries import Connection
from ledger.store.schema import check_revision

PIECE_BYTES = 1024 * 1024
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What was restored: the backup's manifest, and where its archive's folders are now."""

    manifest: Manifest
    archives: Mapping[str, Path]


async def restore(
    connection: Connection,
    *,
    url: str,
    folder: Path,
    archive: Path | None,
    progress: Progress,
) -> RestoreReport:
    """Restore `folder` as the owner role at `url`, the archive's files into `archive`.

    ConflictError where the database is not empty, a file is not what was backed up, or the archive
    holds other files; `progress` gets bytes, twice those of the backup in all.
    """
    manifest = read_manifest(folder)
    check_revision(manifest.revision, "The backup")
    if await store.count_tables(connection):
        raise ConflictError(
            "The database is not empty, and a backup is never mixed with other books.",
            "Name an empty database, or a --data-dir where there is none.",
        )
    targets = _targets(manifest, archive)
    await asyncio.to_thread(verify_files, folder, manifest, progress)
    await asyncio.to_thread(_lay_archive, folder, manifest, targets, progress)
    await _load(url, folder / DUMP, manifest, progress)
    moves = [(location_of(manifest.archives[name]), target) for name, target in targets.items()]
    elsewhere = [(recorded, target) for recorded, target in moves if recorded != target]
    await store.insert_archive_moves(connection, elsewhere)
    await _check_rows(connection, manifest, moved=len(elsewhere))
    return RestoreReport(manifest, targets)


def _targets(manifest: Manifest, archive: Path | None) -> dict[str, Path]:
    if manifest.archives and archive is None:
        raise MissingInputError(
            f"The backup has archived facts in {len(manifest.archives)} folders.",
            "Say with --archive where they shall lie.",
        )
    if archive is None:
        return {}
    several = len(manifest.archives) > 1
    folder = archive.absolute()
    return {name: folder / name if several else folder for name in manifest.archives}


def _lay_archive(
    folder: Path, manifest: Manifest, targets: Mapping[str, Path], progress: Progress
) -> None:
    for name, file in manifest.files.items():
        kind, _, rest = name.partition("/")
        if kind != ARCHIVE:
            continue
        number, _, path = rest.partition("/")
        target = targets[number] / path
        if target.exists():
            # A restore that was ended early left it, or it never went away.
            if sha256_of(target).hex() != file.sha256:
                raise ConflictError(
                    f"{target} is there and is another file than the backup's.",
                    "Name another --archive.",
                )
            continue
        unfinished = target.with_name(target.name + ".tmp")
        unfinished.unlink(missing_ok=True)
        copy_file(folder / name, unfinished, progress)
        unfinished.replace(target)


async def _load(url: str, dump: Path, manifest: Manifest, progress: Progress) -> None:
    listed = await read_program("pg_restore", "--list", str(dump))
    with tempfile.NamedTemporaryFile("w", suffix=".list") as chosen:
        chosen.write("\n".join(_without_schema(listed, manifest.schema_name)))
        chosen.flush()
        arguments = (
            *("--exit-on-error", "--single-transaction", "--no-owner"),
            f"--use-list={chosen.name}",
        )
        async with running_program("pg_restore", url, *arguments, takes_input=True) as process:
            assert process.stdin is not None
            with dump.open("rb") as file:
                while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
                    process.stdin.write(piece)
                    await process.stdin.drain()
                    progress(len(piece))


def _without_schema(listed: str, schema_name: str) -> list[str]:
    """The dump's contents but for a schema that every new database has."""
    made = (f" SCHEMA - {schema_name} ", f" COMMENT - SCHEMA {schema_name} ")
    return [
        line
        for line in listed.splitlines()
        if schema_name != "public" or not any(what in line for what in made)
    ]


async def _check_rows(connection: Connection, manifest: Manifest, *, moved: int) -> None:
    counts = await store.count_tables(connection)
    expected = {**manifest.rows, "archive_move": manifest.rows.get("archive_move", 0) + moved}
    lost = [
        f"{name} {counts.get(name, 0):,} of {rows:,}"
        for name, rows in expected.items()
        if counts.get(name, 0) != rows
    ]
    if lost:
        raise ConflictError(
            f"The restored database lacks rows: {', '.join(lost)}.",
            "Do not use it: drop it, and restore again.",
        )
