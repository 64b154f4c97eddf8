"""Files of an Iceberg table, read and written where the archive lies: a folder or an object store.

Loaded by pyiceberg by its name, so that the environment says who may reach a store, as for the
archived days themselves.
"""

import io
from contextlib import suppress
from pathlib import Path

from pyiceberg.io import FileIO, InputFile, InputStream, OutputFile, OutputStream

from ledger.store.metering.archive_location import Location, ObjectPath, SeekableObject, location_of

FILE = "file://"


def address_of(location: Location) -> str:
    """The address under which readers of Iceberg find a file; its characters stand as they are."""
    return f"{FILE}{location}" if isinstance(location, Path) else location.url


def location_at(address: str) -> Location:
    """The file of an address of `address_of`."""
    return Path(address.removeprefix(FILE)) if address.startswith(FILE) else location_of(address)


class ArchiveFiles(FileIO):
    """What pyiceberg reads and writes through."""

    def new_input(self, location: str) -> "ReadFile":
        """A file to read."""
        return ReadFile(location)

    def new_output(self, location: str) -> "WrittenFile":
        """A file to write."""
        return WrittenFile(location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Take a file away, where it is there and that is allowed."""
        at = location_at(location if isinstance(location, str) else location.location)
        if isinstance(at, ObjectPath):
            at.delete()
            return
        with suppress(FileNotFoundError):
            at.unlink()


class ReadFile(InputFile):
    """A file to read, of which nothing is fetched until it is asked for."""

    def __len__(self) -> int:
        at = location_at(self.location)
        return at.stat().st_size if isinstance(at, Path) else SeekableObject(at).size

    def exists(self) -> bool:
        """Whether it is there."""
        return location_at(self.location).is_file()

    def open(self, seekable: bool = True) -> InputStream:  # noqa: ARG002
        """Its bytes; every stream can be sought in."""
        at = location_at(self.location)
        return at.open("rb") if isinstance(at, Path) else io.BufferedReader(SeekableObject(at))


class WrittenFile(OutputFile):
    """A file to write, which appears whole or, killed in between, is named by nothing."""

    def __len__(self) -> int:
        return len(self.to_input_file())

    def exists(self) -> bool:
        """Whether it is there."""
        return self.to_input_file().exists()

    def to_input_file(self) -> ReadFile:
        """The same file, to read."""
        return ReadFile(self.location)

    def create(self, overwrite: bool = False) -> OutputStream:
        """Takes its bytes; FileExistsError where it is there and must not be replaced."""
        at = location_at(self.location)
        if not overwrite and at.is_file():
            raise FileExistsError(self.location)
        return _Written(at)


class _Written(io.BytesIO):
    """Bytes that are written once they are all there; none where writing them failed."""

    def __init__(self, at: Location) -> None:
        super().__init__()
        self._at = at

    def __exit__(self, *failure: object) -> None:
        if any(failure):
            super().close()
        else:
            self.close()

    def close(self) -> None:
        if not self.closed:
            _write(self._at, self.getvalue())
        super().close()


def _write(at: Location, octets: bytes) -> None:
    if isinstance(at, ObjectPath):
        at.put(octets)
        return
    at.parent.mkdir(parents=True, exist_ok=True)
    at.write_bytes(octets)
