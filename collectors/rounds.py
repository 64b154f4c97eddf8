"""Rounds of reading, held until they make one batch; a file beside the spool outlives a kill.

The file is one stream of zlib, flushed after each round, so that a page of disk holds many of them.
Its first line is the number that the batch will have: what was spooled under it already is not
spooled again. It is not synced: a power cut takes what no one was promised, and counters go on.
"""

import logging
import os
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

from collectors.errors import SpoolError

log = logging.getLogger(__name__)

FILE = "rounds.z"
_HEAD = re.compile(rb"([0-9a-f]{8}) ([0-9]{1,8})\n")
HELD_BYTES_MAX = 4 * 1024 * 1024


class HeldRounds:
    """Lines of the rounds since the last batch; at most a batch or two of them."""

    def __init__(self, directory: Path, *, batch_bytes: int, next_sequence: int) -> None:
        self._path = directory / FILE
        self._batch_bytes = batch_bytes
        self._lines: list[bytes] = []
        self._bytes = 0
        self._file: int | None = None
        self._deflate = zlib.compressobj(1)
        for line in self._left_by_a_kill(next_sequence):
            self._hold(line)
        self._begin(next_sequence, self._lines)

    @property
    def lines(self) -> Sequence[bytes]:
        """What is held, in order."""
        return self._lines

    @property
    def full(self) -> bool:
        """Whether it is time for a batch, however recent the last one is."""
        return self._bytes >= self._batch_bytes

    @property
    def overflows(self) -> bool:
        """Whether no more can be held, because no batch could be kept for long."""
        return self._bytes >= HELD_BYTES_MAX

    def add(self, lines: Sequence[bytes]) -> None:
        """Hold one round of lines, each as it is encoded and without its place."""
        for line in lines:
            self._hold(line)
        self._write(_sealed(lines))

    def clear(self, next_sequence: int) -> None:
        """What was held is in the spool, or nowhere: begin anew."""
        self._lines, self._bytes = [], 0
        self._begin(next_sequence, ())

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            os.close(self._file)
        self._file = None

    def _hold(self, line: bytes) -> None:
        self._lines.append(line)
        self._bytes += len(line)

    def _begin(self, next_sequence: int, lines: Sequence[bytes]) -> None:
        self._deflate = zlib.compressobj(1)
        try:
            if self._file is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
                self._file = os.open(self._path, flags, 0o600)
            os.ftruncate(self._file, 0)
        except OSError as error:
            raise SpoolError(f"cannot hold rounds in {self._path}: {error}") from error
        self._write(b"%d\n" % next_sequence + _sealed(lines))

    def _write(self, text: bytes) -> None:
        if self._file is None or not text:
            return
        packed = self._deflate.compress(text) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        try:
            os.write(self._file, packed)
        except OSError as error:
            # They are held in memory all the same; the next batch tells whether the disk is full.
            log.warning("spool: %s: %s; a kill would lose this round", self._path, error)

    def _left_by_a_kill(self, next_sequence: int) -> list[bytes]:
        """Whole lines of rounds that no batch has; a torn end was no round yet."""
        try:
            packed = self._path.read_bytes()
            text = zlib.decompressobj().decompress(packed, HELD_BYTES_MAX)
        except FileNotFoundError:
            return []
        except (OSError, zlib.error) as error:
            log.warning("spool: %s is damaged, its rounds are lost: %s", self._path, error)
            return []
        number, _, rounds = text.partition(b"\n")
        return _whole_rounds(rounds) if number == b"%d" % next_sequence else []


def _sealed(lines: Sequence[bytes]) -> bytes:
    """One round: the checksum and the length of its lines, and they."""
    text = b"".join(lines)
    return b"%08x %d\n" % (zlib.crc32(text), len(text)) + text if text else b""


def _whole_rounds(text: bytes) -> list[bytes]:
    """The lines of all rounds before the first that is torn or was changed on disk."""
    lines: list[bytes] = []
    at = 0
    while (head := _HEAD.match(text, at)) is not None:
        at = head.end() + int(head[2])
        body = text[head.end() : at]
        if zlib.crc32(body) != int(head[1], 16) or len(body) != int(head[2]):
            break
        lines += [line + b"\n" for line in body.split(b"\n")[:-1]]
    return lines
