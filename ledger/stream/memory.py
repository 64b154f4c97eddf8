"""What a process that ingests asks of its allocators, so that batches leave little behind.

Each setting was found by measuring a worker that reads a full topic; elsewhere than on Linux with
glibc they are left as they are.
"""

import ctypes
import gc
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

# Of glibc's malloc.h: how much free memory a heap may end with, and from which size on memory is
# a mapping of its own, which goes back when it is freed, and costs a fault a page when it is used.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
KEPT_BYTES_MAX, MAPPED_BYTES_MIN = 24 * 1024 * 1024, 32 * 1024 * 1024
# Of Linux's mman.h: forget these pages, which is right for code, of which the file has a copy; and
# take them away if they can be, which leaves what was relocated when it was loaded.
MADV_DONTNEED, MADV_PAGEOUT = 4, 21
# Objects made before the youngest are looked at, and how often an older generation is.
COLLECT_AFTER = (50_000, 20, 100)
# How much must be resident before heaps are asked for what they keep free, and how far above what
# is left they are asked again: it takes 5 ms, and as long to take the pages anew. Where more than
# FULL_BYTES are left all the same, less is to be taken on at once.
FULL_BYTES, GROWTH = 350 * 2**20, 1.03
_STATM, _PAGE_BYTES = Path("/proc/self/statm"), os.sysconf("SC_PAGE_SIZE")
_MAPS, _COMPILER = Path("/proc/self/maps"), "llvmlite"
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (r[w-][x-])p .*/libllvmlite\.so$", re.MULTILINE)


def share_heaps() -> None:
    """Let all threads share two heaps that give back what a batch needed once it is stored."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_ARENA_MAX, 2)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES_MAX)
        libc.mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES_MIN)


def frames_in_a_thread() -> None:
    """To be called before polars is loaded, which reads it once: a batch's frames are small, and
    threads that share one cost more than they save."""
    os.environ.setdefault("POLARS_MAX_THREADS", "1")


def collect_rarely() -> None:
    """Look for garbage seldom, and never among what is there now: a batch leaves no cycles, and a
    look at everything that was imported takes as long as storing one."""
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


@contextmanager
def collecting_rarely() -> Iterator[None]:
    """The same, until it is left."""
    before = gc.get_threshold()
    collect_rarely()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


@dataclass(slots=True)
class Heaps:
    """Asks the heaps for the free pages between those in use, whenever the process has grown by
    GROWTH since: how much lies there is chance, and can be a quarter of what is resident.

    `is_full` says whether FULL_BYTES and more were left when they were asked last.
    """

    resident_bytes_max: float = FULL_BYTES
    is_full: bool = False

    def look(self) -> None:
        """To be called where a batch has just let something go."""
        if _STATM.exists() and _resident_bytes() > self.resident_bytes_max:
            _trim()
            left = _resident_bytes()
            self.resident_bytes_max = max(FULL_BYTES, GROWTH * left)
            self.is_full = left > FULL_BYTES


def _resident_bytes() -> int:
    return int(_STATM.read_text().split()[1]) * _PAGE_BYTES


def _trim() -> None:
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def give_back_compiler() -> None:
    """Give back the pages of the compiler's library, once what it compiled is loaded."""
    if _COMPILER in sys.modules and _MAPS.exists():
        _give_back()


@cache
def _give_back() -> None:
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for since, until, access in _MAPPING.findall(_MAPS.read_text()):
        start = int(since, 16)
        advice = MADV_DONTNEED if access == "r-x" else MADV_PAGEOUT
        libc.madvise(start, int(until, 16) - start, advice)
