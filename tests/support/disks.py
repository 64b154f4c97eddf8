"""Disks that run full, and pages of files that are torn or flipped, and put back from a copy."""

import os
import random
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PAGE_BYTES = 4096
DISK_BYTES = 8 * 1024 * 1024
FULL_BYTES = 256
FILLER = "filler"


@dataclass(frozen=True)
class Disk:
    """A small disk at a folder: a tmpfs, or where none can be mounted a limit on this process."""

    folder: Path
    mounted: bool

    def fill(self) -> None:
        """Leave no room: a write fails with ENOSPC, or beyond a few bytes with EFBIG."""
        if not self.mounted:
            _limit_files(FULL_BYTES)
            return
        with (self.folder / FILLER).open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(PAGE_BYTES))
            except OSError:
                return

    def free(self) -> None:
        """Make room again."""
        if self.mounted:
            (self.folder / FILLER).unlink(missing_ok=True)
        else:
            _limit_files(resource.RLIM_INFINITY)


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    """A disk of a few megabytes at a new folder; who is root and may mount has a real one."""
    folder.mkdir(parents=True)
    mount = ("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder))
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    disk = Disk(folder, mounted)
    try:
        yield disk
    finally:
        disk.free()
        if mounted:
            subprocess.run(("umount", "--lazy", str(folder)), check=True)


def _limit_files(most: int) -> None:
    """How large a file this process and those it starts may make; others go on."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most if hard < 0 else min(most, hard), hard))


@dataclass(frozen=True)
class Damage:
    """What was done to a file, and the whole one beside it."""

    path: Path
    what: str
    copy: Path

    def mend(self) -> None:
        """Put the good copy back, under a name that is whole at once."""
        again = self.path.with_name(self.path.name + ".again")
        shutil.copyfile(self.copy, again)
        again.replace(self.path)


def damage(draw: random.Random, path: Path, copies: Path) -> Damage:
    """Flip a bit, tear a page, lose one, or cut the file at its border: it is another one then."""
    copies.mkdir(exist_ok=True)
    copy = copies / f"{path.name}-{draw.randrange(10**9)}"
    shutil.copyfile(path, copy)
    whole = path.read_bytes()
    what = draw.choice(["a bit flipped", "a page torn", "a page lost", "cut at a page"])
    begins = draw.randrange(0, len(whole), PAGE_BYTES)
    middle = draw.randrange(begins, min(begins + PAGE_BYTES, len(whole)))
    ends = min(begins + PAGE_BYTES, len(whole))
    if what == "a bit flipped":
        other = whole[:middle] + bytes([whole[middle] ^ 1 << draw.randrange(8)])
        other += whole[middle + 1 :]
    elif what == "a page torn":
        other = whole[:middle] + bytes(ends - middle) + whole[ends:]
    elif what == "a page lost":
        other = whole[:begins] + bytes(ends - begins) + whole[ends:]
    else:
        other = whole[: begins or middle]
    if other == whole:
        what, other = "cut short", whole[:-1]
    # The same file, as a disk that goes bad leaves it.
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(descriptor, other)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return Damage(path, what, copy)
