"""A durable queue of batches on disk: each numbered once and kept until it is confirmed.

A batch keeps its number for ever, so sending it again is a duplicate and never a second fact.
The producer's epoch is made with the directory: a lost directory never reuses a number. Nor does a
lost segment or a damaged record: the highest number kept stands in a file of its own as well.
"""

import fcntl
import json
import logging
import os
import threading
import time
import zlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from collectors.errors import SpoolError
from collectors.numbers import keep_numbers, kept_numbers
from collectors.segments import (
    SUFFIX,
    RecordPosition,
    encode_record,
    read_record,
    scan_segment,
    sync_directory,
    sync_file,
    write_durably,
)
from ledger.wire.batch import FIRST_SEQUENCE, MAX_BATCH_BYTES, Batch, BatchHeader
from ledger.wire.ndjson import EventDict, batch_lines, encode_bare

log = logging.getLogger(__name__)

SPOOL_BYTES_MAX = 1024 * 1024 * 1024
SEGMENT_BYTES = 8 * 1024 * 1024
SETTLE_S = 60
ACKED, HIGHEST = "acked", "highest"


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """How large a spool may grow, where a segment ends, how large a batch may be, in bytes; and how
    many seconds what was confirmed need not be on disk: sent again, it is a duplicate."""

    spool_bytes: int = SPOOL_BYTES_MAX
    segment_bytes: int = SEGMENT_BYTES
    batch_bytes: int = MAX_BATCH_BYTES
    settle_s: int = SETTLE_S


@dataclass(frozen=True, slots=True)
class SpoolState:
    """The numbers a log line shows; `dropped_batches` were kept and are lost: over the size limit,
    damaged on disk, or in segments that are gone."""

    last_sequence: int
    acked_sequence: int
    waiting_batches: int
    waiting_bytes: int
    dropped_batches: int


class Spool:
    """One writer's queue in one directory; every method may be called from any thread."""

    def __init__(
        self,
        directory: Path,
        *,
        source: str,
        producer: str,
        new_epoch: int,
        limits: SpoolLimits | None = None,
    ) -> None:
        self._directory = directory
        self._limits = limits or SpoolLimits()
        self._mutex = threading.Lock()
        self._waiting: deque[RecordPosition] = deque()
        self._dropped = 0
        self._acked = self._settled = FIRST_SEQUENCE - 1
        self._settled_at = time.monotonic()
        self._file: int | None = None
        self._path = directory
        self._size = 0
        self._lock_file = _lock(directory)
        try:
            epoch = _identity(directory, source=source, producer=producer, new_epoch=new_epoch)
            self._next = BatchHeader(source, producer, epoch, FIRST_SEQUENCE, 1)
            self._recover()
        except OSError as error:
            os.close(self._lock_file)
            raise SpoolError(
                f"spool {directory}: {error}; check the disk and its rights"
            ) from error
        except SpoolError:
            os.close(self._lock_file)
            raise

    def append(self, events: Iterable[EventDict]) -> int:
        """Keep events durably as one or more batches; returns how many batches that made."""
        return self.append_lines(map(encode_bare, events))

    def append_lines(self, bare: Iterable[bytes]) -> int:
        """`append` of events that are encoded already."""
        with self._mutex:
            made = list(batch_lines(bare, first=self._next, max_bytes=self._limits.batch_bytes))
            if not made:
                return 0
            positions = self._write(made)
            self._waiting.extend(positions)
            self._next = replace(self._next, sequence=positions[-1].sequence + 1)
            self._shrink()
            return len(made)

    def waiting(self, limit: int) -> list[Batch]:
        """The oldest batches not yet confirmed, in order, less those damaged meanwhile."""
        with self._mutex:
            batches: list[Batch] = []
            damaged: list[RecordPosition] = []
            for position in self._waiting:
                if len(batches) == limit:
                    break
                batch = read_record(position)
                if batch is None:
                    damaged.append(position)
                else:
                    batches.append(batch)
            for position in damaged:
                self._waiting.remove(position)
                self._lose(position.sequence, position.sequence, f"{position.path} is damaged")
            return batches

    def acknowledge(self, sequence: int) -> None:
        """Forget every batch up to this number: the ledger or the broker has them."""
        with self._mutex:
            if sequence <= self._acked:
                return
            if sequence >= self._next.sequence:
                raise SpoolError(
                    f"batch {sequence} was never spooled in {self._directory}; "
                    f"the last is {self._next.sequence - 1}"
                )
            self._acked = sequence
            while self._waiting and self._waiting[0].sequence <= sequence:
                self._waiting.popleft()
            late = time.monotonic() - self._settled_at >= self._limits.settle_s
            if late or self._unused():
                self._settle()

    def state(self) -> SpoolState:
        """Where the spool stands."""
        with self._mutex:
            return SpoolState(
                last_sequence=self._next.sequence - 1,
                acked_sequence=self._acked,
                waiting_batches=len(self._waiting),
                waiting_bytes=sum(position.length for position in self._waiting),
                dropped_batches=self._dropped,
            )

    def close(self) -> None:
        """Release the files and the directory's lock; nothing is lost by not calling it."""
        with self._mutex:
            self._end_segment()
            try:
                self._settle()
            except OSError as error:
                log.warning("spool: what was confirmed goes out once more: %s", error)
            os.close(self._lock_file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _recover(self) -> None:
        """Take up the numbers where they stopped; a torn tail was never confirmed to anyone."""
        acked, issued = self._kept_numbers()
        scanned: list[RecordPosition] = []
        for path in sorted(self._directory.glob(f"*{SUFFIX}")):
            scan = scan_segment(path)
            if scan.torn_bytes:
                log.warning("spool: %s ends in %d torn bytes, cut off", path, scan.torn_bytes)
                os.truncate(path, scan.good_end)
            # What is read now may not be what a crash would leave: a write taken back before.
            sync_file(path)
            scanned.extend(scan.records)
        # Without its number everything found goes out once more: duplicates, each counted once.
        self._acked = FIRST_SEQUENCE - 1 if acked is None else acked
        self._waiting.extend(position for position in scanned if position.sequence > self._acked)
        highest = max([self._acked, *(position.sequence for position in scanned)])
        last = max(highest, issued)
        if last > highest or acked is None:
            # No segment says it any more: it is kept in two places again.
            self._keep_acked(self._acked, last)
        if last >= FIRST_SEQUENCE:
            keep_numbers(self._directory / HIGHEST, last)
        if acked is not None:
            self._name_lost(last)
        self._settled = self._acked
        self._next = replace(self._next, sequence=last + 1)
        self._delete_unused()

    def _keep_acked(self, acked: int, issued: int) -> None:
        keep_numbers(self._directory / ACKED, acked, issued)

    def _kept_numbers(self) -> tuple[int | None, int]:
        """The last confirmed number, None where damage took it, and the last one given out."""
        paths = (self._directory / ACKED, self._directory / HIGHEST)
        numbers = [kept_numbers(path) for path in paths]
        damaged = [p for p, n in zip(paths, numbers, strict=True) if not n and p.exists()]
        for path in damaged:
            log.error("spool: %s is damaged, and made again", path)
        if len(damaged) == len(paths):
            raise SpoolError(f"{ACKED} and {HIGHEST} are damaged; move {self._directory} away")
        acked: int | None = FIRST_SEQUENCE - 1
        if paths[0] in damaged:
            acked = None
        elif numbers[0]:
            acked = numbers[0][0]
        return acked, max([FIRST_SEQUENCE - 1, *numbers[0], *numbers[1]])

    def _name_lost(self, last: int) -> None:
        """Say which numbers after the last confirmed have no batch on disk: they are not used."""
        expected = self._acked + 1
        for sequence in [*sorted(position.sequence for position in self._waiting), last + 1]:
            if sequence > expected:
                self._lose(expected, sequence - 1, "their segments are gone or damaged")
            expected = max(expected, sequence + 1)

    def _lose(self, first: int, last: int, why: str) -> None:
        self._dropped += last - first + 1
        log.error(
            "spool: batches %d to %d are lost, %s; the ledger shows the gap", first, last, why
        )

    def _write(self, batches: list[Batch]) -> list[RecordPosition]:
        """Write and sync all; on any failure none of them exists."""
        last = batches[-1].header.sequence
        file = self._segment(batches[0].header.sequence)
        positions, offset = [], self._size
        try:
            for batch in batches:
                record = encode_record(batch)
                _write_all(file, record)
                positions.append(
                    RecordPosition(batch.header.sequence, self._path, offset, len(record))
                )
                offset += len(record)
            os.fdatasync(file)
            keep_numbers(self._directory / HIGHEST, last)
        except OSError as error:
            left = self._undo(file, last)
            raise SpoolError(
                f"cannot write to {self._path}: {error}; free the disk or move the spool{left}"
            ) from error
        self._size = offset
        return positions

    def _undo(self, file: int, last: int) -> str:
        """Take back what a failed write left; what cannot be taken back keeps its numbers."""
        try:
            os.ftruncate(file, self._size)
            # A crash would bring it back, under numbers that others have by then.
            os.fdatasync(file)
        except OSError:
            self._next = replace(self._next, sequence=last + 1)
            return f"; batches to {last} may turn up again"
        finally:
            self._end_segment()
        return ""

    def _segment(self, sequence: int) -> int:
        if self._file is not None and self._size < self._limits.segment_bytes:
            return self._file
        self._end_segment()
        self._path = self._directory / f"{sequence:020d}{SUFFIX}"
        try:
            # A number whose write failed may find its own empty segment again.
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._size = os.fstat(self._file).st_size
            sync_directory(self._directory)
        except OSError as error:
            self._end_segment()
            raise SpoolError(f"cannot open {self._path}: {error}; check the disk") from error
        return self._file

    def _end_segment(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file, self._size = None, 0

    def _settle(self) -> None:
        """Note on disk what was confirmed, and only then let go of its segments."""
        if self._settled != self._acked:
            self._keep_acked(self._acked, self._next.sequence - 1)
            self._settled = self._acked
        self._settled_at = time.monotonic()
        self._delete_unused()

    def _shrink(self) -> None:
        """Drop the oldest segment when too large: its numbers stay missing, a visible gap."""
        total = sum(position.length for position in self._waiting)
        while total > self._limits.spool_bytes and self._waiting[0].path != self._path:
            oldest = self._waiting[0].path
            gone = [position for position in self._waiting if position.path == oldest]
            for _ in gone:
                self._waiting.popleft()
            total -= sum(position.length for position in gone)
            self._dropped += len(gone)
            log.error(
                "spool: over %d bytes, dropped batches %d to %d unsent; the ledger shows the gap",
                self._limits.spool_bytes,
                gone[0].sequence,
                gone[-1].sequence,
            )
            try:
                self._settle()
            except OSError:
                # A full disk is emptied all the same; at worst what was confirmed is called lost.
                self._delete_unused()

    def _unused(self) -> list[Path]:
        """Segments of which nothing waits any more."""
        used = {position.path for position in self._waiting}
        if self._file is not None:
            used.add(self._path)
        return [path for path in self._directory.glob(f"*{SUFFIX}") if path not in used]

    def _delete_unused(self) -> None:
        for path in self._unused():
            try:
                path.unlink()
            except OSError as error:
                log.warning("spool: %s is not needed and stays for now: %s", path, error)


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _lock(directory: Path) -> int:
    """Keep a second collector out: two writers would give one number to two batches."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SpoolError(
            f"spool {directory}: {error}; name a folder that can be written"
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        raise SpoolError(
            f"spool {directory} is in use by another collector; stop it or name another spool"
        ) from error
    return file


def _identity(directory: Path, *, source: str, producer: str, new_epoch: int) -> int:
    """The epoch of this directory, made once; a directory keeps the names it was made for."""
    path = directory / "identity.json"
    if not path.exists():
        if any(directory.glob(f"*{SUFFIX}")) or (directory / HIGHEST).exists():
            raise SpoolError(f"{path} is missing beside segments; move {directory} away")
        made = {"source": source, "producer": producer, "epoch": new_epoch}
        write_durably(path, json.dumps(made | {"crc32": _checksum(made)}, sort_keys=True))
        return new_epoch
    return _kept_epoch(path, source=source, producer=producer)


def _kept_epoch(path: Path, *, source: str, producer: str) -> int:
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        names, epoch = (kept["source"], kept["producer"]), kept["epoch"]
        checksum = kept.pop("crc32")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpoolError(f"{path} is damaged ({error}); move {path.parent} away") from error
    if checksum != _checksum(kept):
        raise SpoolError(f"{path} is damaged (its checksum differs); move {path.parent} away")
    if names != (source, producer):
        raise SpoolError(
            f"spool {path.parent} belongs to source {names[0]}, producer {names[1]}; "
            "name another spool or the same source and producer"
        )
    if not isinstance(epoch, int):
        raise SpoolError(f"{path} has epoch {epoch!r}; move {path.parent} away")
    return epoch


def _checksum(said: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(said, sort_keys=True).encode())
