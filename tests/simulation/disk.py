"""A disk in memory that keeps what was synced, and of the rest what chance leaves after a crash.

It stands in for `os`, `fcntl` and `pathlib` as the spool uses them. Directory entries reach it in
order, a file's bytes in order, each up to any point; a crash may cut a write anywhere or leave
zeros. Full disks, failed syncs and power cuts come by chance, damage at rest when asked.
"""

import errno
import fcntl as real_fcntl
import io
import os as real_os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from random import Random
from typing import Any


class PowerCut(BaseException):  # it is no error of the code that meets it
    """The machine went away in the middle of a call."""


@dataclass(slots=True, eq=False)
class Inode:
    """A file's bytes as processes see them, what of them is durable, and the writes between."""

    data: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    writes: list[tuple[int, bytes | None]] = field(default_factory=list)

    def write(self, offset: int, data: bytes) -> None:
        """Put bytes where a process wants them."""
        self.data[offset : offset + len(data)] = data
        self.writes.append((offset, data))

    def truncate(self, size: int) -> None:
        """Cut it, or fill it up with zeros."""
        del self.data[size:]
        self.data.extend(bytes(size - len(self.data)))
        self.writes.append((size, None))

    def sync(self) -> None:
        """All of it is durable."""
        self.durable, self.writes = bytes(self.data), []

    def crash(self, chance: Random) -> None:
        """Forget what chance does not keep."""
        self.data = bytearray(self.durable)
        kept = self.writes[: chance.randint(0, len(self.writes))]
        for n, (offset, data) in enumerate(kept):
            if data is None:
                del self.data[offset:]
                continue
            torn = data
            if n == len(kept) - 1:
                torn = data[: chance.randint(0, len(data))]
                torn += bytes(len(data) - len(torn)) if chance.random() < 0.3 else b""
            self.data[offset : offset + len(torn)] = torn
        self.sync()


@dataclass(slots=True, eq=False)
class _Open:
    inode: Inode | None
    append: bool = False


@dataclass(slots=True, eq=False)
class Disk:
    """One directory tree of plain files; `power` and `fault` are chances a call."""

    chance: Random
    power: float = 0.0
    fault: float = 0.0
    full: bool = False
    entries: dict[str, Inode] = field(default_factory=dict)
    _durable: dict[str, Inode] = field(default_factory=dict)
    _changes: list[tuple[str, Inode | None]] = field(default_factory=list)
    _opened: dict[int, _Open] = field(default_factory=dict)
    _last: int = 2
    calls: int = 0

    def meet(self, *, writing: bool = False) -> None:
        """Whatever chance holds for a call."""
        self.calls += 1
        if self.chance.random() < self.power:
            raise PowerCut
        if writing and self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.chance.random() < self.fault:
            raise OSError(errno.EIO, "Input/output error")

    def crash(self) -> None:
        """The machine comes back with what was durable and a part of the rest."""
        kept = self._changes[: self.chance.randint(0, len(self._changes))]
        for name, inode in kept:
            self._change(self._durable, name, inode)
        inodes = set(map(id, self._durable.values()))
        for inode in {id(one): one for one in self._durable.values() if id(one) in inodes}.values():
            inode.crash(self.chance)
        self.entries, self._changes, self._opened = dict(self._durable), [], {}

    def restart(self) -> None:
        """The process ended and the machine stayed: all files as they were."""
        self._opened = {}

    @staticmethod
    def _change(entries: dict[str, Inode], name: str, inode: Inode | None) -> None:
        if inode is None:
            entries.pop(name, None)
        else:
            entries[name] = inode

    def link(self, name: str, inode: Inode | None) -> None:
        """Name a file, or with None take its name away."""
        self._change(self.entries, name, inode)
        self._changes.append((name, inode))

    def sync_names(self) -> None:
        """All names are durable."""
        self._durable, self._changes = dict(self.entries), []

    def opened(self, inode: Inode | None, *, append: bool = False) -> int:
        """A descriptor."""
        self._last += 1
        self._opened[self._last] = _Open(inode, append)
        return self._last

    def inode(self, descriptor: int) -> Inode:
        """The file behind a descriptor."""
        found = self._opened[descriptor].inode
        assert found is not None
        return found

    def close(self, descriptor: int) -> None:
        """Forget a descriptor."""
        del self._opened[descriptor]

    def is_open(self, name: str) -> bool:
        """Whether any descriptor holds this file."""
        held = [one.inode for one in self._opened.values()]
        return name in self.entries and self.entries[name] in held


class SimulatedOs:
    """`os` as far as the spool calls it."""

    O_WRONLY, O_RDWR, O_RDONLY = real_os.O_WRONLY, real_os.O_RDWR, real_os.O_RDONLY
    O_CREAT, O_APPEND, O_DIRECTORY = real_os.O_CREAT, real_os.O_APPEND, real_os.O_DIRECTORY
    O_EXCL = real_os.O_EXCL

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def open(self, path: "SimulatedPath", flags: int, _mode: int = 0o777) -> int:
        """A descriptor of a file or of the directory."""
        disk, name = self._disk, path.text
        if flags & self.O_DIRECTORY:
            disk.meet()
            return disk.opened(None)
        fresh = name not in disk.entries
        disk.meet(writing=fresh)
        if fresh and not flags & self.O_CREAT:
            raise FileNotFoundError(errno.ENOENT, "No such file", name)
        if fresh:
            disk.link(name, Inode())
        return disk.opened(disk.entries[name])

    def close(self, descriptor: int) -> None:
        """Never fails."""
        self._disk.close(descriptor)

    def write(self, descriptor: int, data: bytes) -> int:
        """Append all of it, or a part, also before it fails."""
        disk, inode = self._disk, self._disk.inode(descriptor)
        whole = bytes(data)
        part = whole[: disk.chance.randint(1, len(whole))]
        try:
            disk.meet(writing=True)
        except (OSError, PowerCut):
            if disk.chance.random() < 0.5:
                inode.write(len(inode.data), part)
            raise
        done = part if disk.chance.random() < 0.2 else whole
        inode.write(len(inode.data), done)
        return len(done)

    def fsync(self, descriptor: int) -> None:
        """Durable, or an error that says nothing about what is."""
        disk = self._disk
        held = disk._opened[descriptor].inode  # one module
        disk.meet(writing=held is not None)
        if held is None:
            disk.sync_names()
        else:
            held.sync()

    fdatasync = fsync

    def ftruncate(self, descriptor: int, size: int) -> None:
        """Cut an open file."""
        self._disk.meet()
        self._disk.inode(descriptor).truncate(size)

    def truncate(self, path: "SimulatedPath", size: int) -> None:
        """Cut a file."""
        self._disk.meet()
        self._disk.entries[path.text].truncate(size)

    def fstat(self, descriptor: int) -> Any:
        """Its size alone."""
        size = len(self._disk.inode(descriptor).data)
        return real_os.stat_result((0, 0, 0, 0, 0, 0, size, 0, 0, 0))

    def chmod(self, path: "SimulatedPath", mode: int) -> None:
        """Rights are not simulated."""


class SimulatedFcntl:
    """`fcntl`: there is one collector."""

    LOCK_EX, LOCK_NB = real_fcntl.LOCK_EX, real_fcntl.LOCK_NB

    def flock(self, descriptor: int, operation: int) -> None:
        """Always granted."""


class _Writer(io.StringIO):
    """A text file being written: its bytes go to the disk as they are flushed."""

    def __init__(self, disk: Disk, inode: Inode) -> None:
        super().__init__()
        self._disk, self._descriptor = disk, disk.opened(inode)

    def flush(self) -> None:
        """Bring what was written to the file."""
        inode, text = self._disk.inode(self._descriptor), self.getvalue().encode()
        if len(text) > len(inode.data):
            self._disk.meet(writing=True)
            inode.write(len(inode.data), text[len(inode.data) :])

    def fileno(self) -> int:
        """Its descriptor."""
        return self._descriptor


class SimulatedPath:
    """`Path` as far as the spool uses it."""

    def __init__(self, disk: Disk, text: str) -> None:
        self._disk, self.text = disk, text

    @property
    def name(self) -> str:
        """The last part."""
        return self.text.rsplit("/", 1)[-1]

    @property
    def parent(self) -> "SimulatedPath":
        """The directory."""
        return SimulatedPath(self._disk, self.text.rsplit("/", 1)[0])

    def __truediv__(self, name: str) -> "SimulatedPath":
        return SimulatedPath(self._disk, f"{self.text}/{name}")

    def __str__(self) -> str:
        return self.text

    def __lt__(self, other: "SimulatedPath") -> bool:
        return self.text < other.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SimulatedPath) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def with_name(self, name: str) -> "SimulatedPath":
        """Another file beside it."""
        return self.parent / name

    def mkdir(self, **_: Any) -> None:
        """Directories are there."""

    def exists(self) -> bool:
        """Whether it has a name."""
        return self.text in self._disk.entries

    def glob(self, pattern: str) -> Iterator["SimulatedPath"]:
        """Files of this directory."""
        prefix = self.text + "/"
        for name in list(self._disk.entries):
            if name.startswith(prefix) and fnmatch(name[len(prefix) :], pattern):
                yield SimulatedPath(self._disk, name)

    def unlink(self, *, missing_ok: bool = False) -> None:
        """Take the name away."""
        self._disk.meet()
        if not self.exists() and not missing_ok:
            raise FileNotFoundError(errno.ENOENT, "No such file", self.text)
        self._disk.link(self.text, None)

    def replace(self, other: "SimulatedPath") -> None:
        """Take the other's name, as one change."""
        self._disk.meet()
        inode = self._disk.entries[self.text]
        self._disk.link(other.text, inode)
        self._disk.link(self.text, None)

    def open(self, mode: str = "r", **_: Any) -> Any:
        """To read bytes, or to write a new text."""
        self._disk.meet(writing=mode == "w")
        if mode == "w":
            self._disk.link(self.text, Inode())
            return _Writer(self._disk, self._disk.entries[self.text])
        return io.BytesIO(self.read_bytes())

    def read_bytes(self) -> bytes:
        """All of it."""
        if not self.exists():
            raise FileNotFoundError(errno.ENOENT, "No such file", self.text)
        return bytes(self._disk.entries[self.text].data)

    def read_text(self, **_: Any) -> str:
        """All of it as text."""
        return self.read_bytes().decode()
