"""The folder of a backup: dump, archived files, settings, and what says that they are whole.

A backup is made beside its place and gets its name last, so that what has the name is finished; the
manifest holds size and SHA-256 of every file.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

from ledger.domain.errors import ConflictError, InvalidInputError, NotFoundError
from ledger.store.metering.archive_files import pieces_of, sha256_of
from ledger.store.metering.archive_location import Location

FORMAT = 1
MANIFEST, DUMP, SETTINGS, ARCHIVE = "backup.json", "books.dump", "settings.json", "archive"
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class BackupFile:
    """Size and SHA-256 (hexadecimal) of a file."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds: rows by table, files by path, archive folders as they were recorded."""

    made_at: str
    revision: str
    schema_name: str
    rows: Mapping[str, int]
    archives: Mapping[str, str]
    files: Mapping[str, BackupFile] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())


@contextmanager
def new_backup(folder: Path) -> Iterator[Path]:
    """A folder to fill that becomes `folder` in the end; ConflictError where that is taken."""
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConflictError(
            f"{folder} is not empty.", "Name a new folder: a backup is never mixed."
        )
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise InvalidInputError(
            f"A backup cannot be written to {folder}: {error.strerror}.", "Name another --to.", "to"
        ) from error
    try:
        yield unfinished
        if folder.exists():
            folder.rmdir()
        unfinished.replace(folder)
        sync(folder.parent)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def copy_file(source: Location, target: Path, progress: Progress) -> None:
    """A copy that is on the disk when this returns, readable by its owner alone."""
    _make_private(target.parent)
    with _new_private(target) as written:
        for piece in pieces_of(source):
            written.write(piece)
            progress(len(piece))
        written.flush()
        os.fsync(written.fileno())


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """A JSON document that is on the disk when this returns."""
    with _new_private(path) as file:
        file.write(json.dumps(value, indent=2).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def seal_backup(folder: Path, manifest: Manifest) -> Manifest:
    """Write the manifest over every file that is there."""
    files = {
        str(path.relative_to(folder)): BackupFile(path.stat().st_size, sha256_of(path).hex())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    whole = Manifest(**{**asdict(manifest), "files": files})
    write_json(folder / MANIFEST, asdict(whole))
    return whole


def read_manifest(folder: Path) -> Manifest:
    """What a backup says of itself; NotFoundError where `folder` is no whole backup."""
    path = folder / MANIFEST
    if not path.is_file():
        raise NotFoundError(
            f"{folder} is not a whole backup: it has no {MANIFEST}.",
            "Name the folder that `tokenledger backup` finished.",
        )
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        if said["format"] != FORMAT:
            raise ConflictError(
                f"{folder} is a backup of format {said['format']}, not {FORMAT}.",
                "Restore it with the version that made it.",
            )
        files = {name: BackupFile(**file) for name, file in said.pop("files").items()}
        return Manifest(**said, files=files)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConflictError(f"{path} cannot be read: {error}.", "Take another backup.") from error


def verify_files(folder: Path, manifest: Manifest, progress: Progress) -> None:
    """ConflictError names the first file that is missing or is not what was written."""
    for name, file in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise ConflictError(f"{path} of the backup is missing.", "Take another backup.")
        if path.stat().st_size != file.size or sha256_of(path).hex() != file.sha256:
            raise ConflictError(
                f"{path} is not what was backed up: its size or SHA-256 differs.",
                "Take another backup, or fetch the file again from where it was copied.",
            )
        progress(file.size)


def sync(path: Path) -> None:
    """Bring a folder's names to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _make_private(folder: Path) -> None:
    # With `parents` the mode is that of the last folder alone.
    if not folder.is_dir():
        _make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def _new_private(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
