"""Files of archived facts, extras and readings: Parquet with all that their table says, and a
manifest beside it.

A file counts only once it has its final name; what ends in .tmp was never finished.
"""

import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from ledger.domain.errors import ConflictError, UnavailableError
from ledger.store.metering.archive_location import Location, ObjectPath
from ledger.store.metering.fact_columns import EXTRA_SCHEMA, SCHEMA
from ledger.store.metering.reading_columns import SCHEMAS
from ledger.store.metering.retention import EXTRA_TABLE, FACT_TABLE, ArchivedDay, DayOfFacts

FORMAT = 1
HASH_BYTES = 1024 * 1024
ARCHIVED_SCHEMAS: Mapping[str, pl.Schema] = {
    FACT_TABLE: SCHEMA,
    EXTRA_TABLE: EXTRA_SCHEMA,
    **SCHEMAS,
}
_NAMES = {
    **{FACT_TABLE: "facts", EXTRA_TABLE: "extras"},
    **{"gpu_reading": "readings", "counter_reading": "counters"},
}


@dataclass(slots=True)
class FileTally:
    """Rows seen, and a checksum over every column of them that no order of rows changes."""

    rows: int = 0
    checksum: int = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Count these rows too."""
        self.rows += frame.height
        hashes = frame.hash_rows(seed=FORMAT).to_numpy()
        self.checksum = (self.checksum + int(np.add.reduce(hashes, dtype=np.uint64))) % 2**64


@dataclass(slots=True)
class DayWriter:
    """Takes the rows of a day page by page, and makes one file of them."""

    pages: Path
    schema: pl.Schema
    tally: FileTally = field(default_factory=FileTally)
    files: list[Path] = field(default_factory=list)

    def add(self, frame: pl.DataFrame) -> None:
        """The next facts, in stored order."""
        self.tally.add(frame)
        path = self.pages / f"{len(self.files):06}.parquet"
        with _writing(path):
            frame.write_parquet(path, compression="lz4")
        self.files.append(path)

    def finish(self, location: Location) -> bytes:
        """Write the pages as one file with its final name; returns its SHA-256."""
        path = location if isinstance(location, Path) else self.pages / location.name
        unfinished = path.with_name(path.name + ".tmp")
        frame = pl.scan_parquet(self.files) if self.files else pl.LazyFrame(schema=self.schema)
        with _writing(unfinished):
            frame.sink_parquet(unfinished, compression="zstd", maintain_order=True)
            _sync(unfinished)
        if _tally(unfinished, self.schema) != self.tally:
            raise ConflictError(
                f"{unfinished} does not read back as it was written.", "Is the disk sound?"
            )
        digest = sha256_of(unfinished)
        unfinished.replace(path)
        _sync(path.parent)
        if isinstance(location, ObjectPath):
            _send(path, location, digest)
        return digest


def _send(path: Path, location: ObjectPath, digest: bytes) -> None:
    location.put(path)
    if sha256_of(location) != digest:
        raise ConflictError(
            f"{location} does not read back as it was written.",
            "Does its store keep what it takes?",
        )


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Say of which file it is that a disk has no room for it, in whoever's words."""
    try:
        yield
    except (OSError, pl.exceptions.ComputeError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise UnavailableError(
            f"{path} cannot be written: {why}. The day stays in the database.",
            "Make room, or name another folder, and run again.",
        ) from error


def day_path(folder: Location, day: DayOfFacts, table: str = FACT_TABLE) -> Location:
    """Where a day of a table lies in an archive."""
    name = f"stored_day={day.stored_day.isoformat()}"
    location = folder.absolute() if isinstance(folder, Path) else folder
    return location / table / name / "part.parquet"


@contextmanager
def write_day(path: Location, table: str = FACT_TABLE) -> Iterator[DayWriter]:
    """A writer of one day of a table, which sends it to an object store once it is whole; what an
    earlier attempt left is swept away.

    UnavailableError where there is no room, or no right, to write.
    """
    if isinstance(path, ObjectPath):
        with tempfile.TemporaryDirectory(prefix="tokenledger-archive-") as folder:
            yield DayWriter(Path(folder), ARCHIVED_SCHEMAS[table])
        return
    pages = path.parent / "pages.tmp"
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(pages, ignore_errors=True)
        pages.mkdir()
    try:
        yield DayWriter(pages, ARCHIVED_SCHEMAS[table])
    finally:
        shutil.rmtree(pages, ignore_errors=True)


def write_manifest(archived: ArchivedDay) -> None:
    """Say beside the file what it holds, for whoever has only the file."""
    day = archived.day
    said = {
        "format": FORMAT,
        "table": archived.table,
        "stored_day": day.stored_day.isoformat(),
        "file": archived.path.name,
        "rows": day.rows,
        "sha256": archived.sha256.hex(),
        "first_time": _text(day.first_time),
        "last_time": _text(day.last_time),
        "first_batch_seq": day.first_batch_seq,
        "last_batch_seq": day.last_batch_seq,
        "columns": {name: str(dtype) for name, dtype in ARCHIVED_SCHEMAS[archived.table].items()},
    }
    path, text = archived.path.with_name("manifest.json"), json.dumps(said, indent=2) + "\n"
    if isinstance(path, ObjectPath):
        path.put(text.encode())
        return
    unfinished = path.with_name(path.name + ".tmp")
    with _writing(path):
        unfinished.write_text(text, encoding="utf-8")
        _sync(unfinished)
        unfinished.replace(path)
        _sync(path.parent)


def scan_archived(archived: ArchivedDay) -> pl.LazyFrame:
    """The facts of an archived day, every column, unread until asked; its SHA-256 is checked first.

    UnavailableError where the file is not there, ConflictError where it is not the one recorded.
    """
    if not archived.path.is_file():
        raise UnavailableError(
            f"The archived {_NAMES[archived.table]} of {archived.day.stored_day} are not at"
            f" {archived.path}.",
            "Make the archive's directory or store available to this host.",
        )
    with _verifying:
        if not _is_verified(archived) and sha256_of(archived.path) != archived.sha256:
            raise ConflictError(
                f"{archived.path} is not the file that was archived: its SHA-256 differs.",
                "Restore it from a copy.",
            )
        _verified[archived.path] = _identity(archived)
    path = archived.path
    return pl.scan_parquet(path if isinstance(path, Path) else path.url, hive_partitioning=False)


# A file that is still the very one whose digest was right is not read whole again.
_verified: dict[Location, tuple[object, ...]] = {}
_verifying = threading.Lock()


def _is_verified(archived: ArchivedDay) -> bool:
    return _verified.get(archived.path) == _identity(archived)


def _identity(archived: ArchivedDay) -> tuple[object, ...]:
    """What no write leaves as it was: `ctime` is the kernel's, and nobody sets it."""
    if isinstance(archived.path, ObjectPath):
        return archived.sha256, *archived.path.identity()
    now = archived.path.stat()
    return archived.sha256, now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns


def sha256_of(path: Location) -> bytes:
    """The SHA-256 of a file, read a piece at a time."""
    digest = hashlib.sha256()
    for piece in pieces_of(path):
        digest.update(piece)
    return digest.digest()


def pieces_of(path: Location) -> Iterator[bytes]:
    """The bytes of a file, a piece at a time."""
    if isinstance(path, ObjectPath):
        yield from path.pieces()
        return
    with path.open("rb") as file:
        while piece := file.read(HASH_BYTES):
            yield piece


def _tally(path: Path, schema: pl.Schema) -> FileTally:
    tally = FileTally()
    frame = pl.scan_parquet(path, hive_partitioning=False)
    if dict(frame.collect_schema()) != dict(pl.LazyFrame(schema=schema).collect_schema()):
        return FileTally(rows=-1)
    for page in frame.collect_batches():
        tally.add(page)
    return tally


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
