"""What a machine is like: its names, and marks by which figures of two days can be compared."""

import functools
import hashlib
import mmap
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

MIB = 1 << 20
# Of the processor, for each mark: the mean of as many goes as fit, since one go says little.
MARK_SECONDS = 0.4
# Memory is kept until its mark is told, so that no page of it comes twice.
MEMORY_MOST = 256 * MIB
FAULTS_A_GO = 256


@functools.cache
def machine() -> dict[str, str]:
    """What the figures are measured on; ratios travel, absolute numbers do not."""
    names = {"cpu": _cpu(), "system": platform.platform(), "python": platform.python_version()}
    return names | marks()


def marks() -> dict[str, str]:
    """Means by CPU time, which other processes disturb least; under two seconds in all.

    Code that takes fresh memory may be four times as dear on a day when all else is the same.
    """
    return {
        "page fault, µs": f"{page_fault_us():.1f}",
        "fresh memory filled, GB/s": f"{fresh_memory_gb_s():.2f}",
        "sha256, GB/s": f"{sha256_gb_s():.2f}",
    }


def page_fault_us() -> float:
    """What the first touch of a page of 4 KiB takes, in microseconds."""
    length = FAULTS_A_GO * mmap.PAGESIZE
    kept: list[mmap.mmap] = []

    def touch() -> float:
        kept.append(mmap.mmap(-1, length))
        kept[-1].madvise(mmap.MADV_NOHUGEPAGE)
        pages = np.frombuffer(kept[-1], np.uint8)
        return _spent(lambda: pages[:: mmap.PAGESIZE].fill(1))

    return _mean_seconds(touch, goes_most=MEMORY_MOST // length) / FAULTS_A_GO * 1e6


def fresh_memory_gb_s() -> float:
    """How fast large arrays are filled for the first time, in 10^9 bytes a second."""
    length = 16 * MIB
    kept: list[object] = []

    def fill() -> float:
        array = np.empty(length, np.uint8)
        kept.append(array)
        return _spent(lambda: array.fill(1))

    return length / _mean_seconds(fill, goes_most=MEMORY_MOST // length) / 1e9


def sha256_gb_s() -> float:
    """How fast a mebibyte in the cache is hashed, in 10^9 bytes a second."""
    text = bytes(MIB)
    return MIB / _mean_seconds(lambda: _spent(lambda: hashlib.sha256(text).digest())) / 1e9


def _mean_seconds(go: Callable[[], float], *, goes_most: int = 10_000) -> float:
    spent, goes = 0.0, 0
    while spent < MARK_SECONDS and goes < goes_most:
        spent += go()
        goes += 1
    return spent / goes


def _spent(work: Callable[[], object]) -> float:
    before = time.thread_time()
    work()
    return time.thread_time() - before


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"
