"""A server as it is after weeks at work, whatever it stores: memory full of files, WAL to reuse.

On a fresh machine a new page of a file takes free memory, for which a virtual machine asks its host
(6 to 10 µs for 4 KiB), and a new segment of WAL is written twice. A server at work uses pages and
segments again. Without this a young ledger pays more for an event than an old one does, and how
much more depends on what ran on the machine before.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from benchmarks.harness import say
from benchmarks.scale import SCALE
from benchmarks.server import sql
from ledger.store.queries import Connection

# Of 16 MiB each: more than is written from one mark to the next load.
SEGMENTS = 160
# The part of memory that the kernel keeps free.
FREE_PART = 0.05
CHUNK_BYTES = 2**20


class PageCache:
    """Fills memory with pages of a file that is one hole: they take no disk, and go when needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def fill(self) -> None:
        """Read on until no memory is free."""
        total = psutil.virtual_memory().total
        began, chunk = self._read, bytearray(CHUNK_BYTES)
        self._path.touch()
        os.truncate(self._path, began + total)
        with self._path.open("rb", buffering=0) as file:
            file.seek(began)
            while psutil.virtual_memory().free > total * FREE_PART and file.readinto(chunk):
                pass
            self._read = file.tell()
        os.truncate(self._path, self._read)
        say(f"{(self._read - began) // 2**20:,} MiB of free memory filled with pages of a file")


@contextmanager
def page_cache() -> Iterator[PageCache]:
    """One that lets go of its pages on leaving."""
    with TemporaryDirectory(prefix="tokenledger-bench-") as folder:
        yield PageCache(Path(folder) / "hole")


async def settle(superuser: Connection, cache: PageCache) -> None:
    """Do now what the server would do in the background, and make room in WAL and memory.

    At a smaller scale memory is left as it is.
    """
    await superuser.execute("VACUUM (ANALYZE)")
    await superuser.execute(sql("wal_room"), SEGMENTS)
    await superuser.execute("CHECKPOINT")
    if SCALE >= 1:
        cache.fill()
