"""Where archived files lie: a folder that every host reaches, or an object store, by URL.

An object appears whole or not at all. Who may reach a store is said by the environment, as its own
tools read it (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, GOOGLE_APPLICATION_CREDENTIALS, …).
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote, urlsplit

from ledger.domain.errors import InvalidInputError, UnavailableError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from obstore import ReadableFile
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs", "az")
PIECE_BYTES = 1024 * 1024
# Whoever archives or reads waits so long for a store that does not answer.
RETRY_S, RETRIES = 30, 3


@dataclass(frozen=True, slots=True)
class ObjectPath:
    """A folder or file of an object store, written as a path is.

    Whatever asks the store raises UnavailableError where it does not answer, or does not allow it.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> "ObjectPath":
        return ObjectPath(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        """The last part."""
        return self.url.rpartition("/")[2]

    @property
    def parent(self) -> "ObjectPath":
        """The folder it lies in."""
        return ObjectPath(self.url.rpartition("/")[0])

    def with_name(self, name: str) -> "ObjectPath":
        """What lies beside it."""
        return self.parent / name

    def is_file(self) -> bool:
        """Whether it is there."""
        return self._met() is not None

    def identity(self) -> tuple[object, ...]:
        """What no write leaves as it was."""
        met = self._met()
        return met or (None,)

    def pieces(self) -> Iterator[bytes]:
        """Its bytes."""
        with self._asked():
            for piece in self._store().get(self.name).stream(PIECE_BYTES):
                yield bytes(piece)

    def reader(self) -> "ReadableFile":
        """Its bytes from wherever they are asked for."""
        import obstore

        with self._asked():
            return obstore.open_reader(self._store(), self.name)

    def put(self, content: Path | bytes) -> None:
        """Write it whole."""
        with self._asked():
            self._store().put(self.name, content)

    def delete(self) -> None:
        """Take it away, where that is allowed."""
        with suppress(UnavailableError), self._asked():
            self._store().delete(self.name)

    def _met(self) -> tuple[object, ...] | None:
        with self._asked():
            try:
                said = self._store().head(self.name)
            except FileNotFoundError:
                return None
        return said["e_tag"], said["size"], said["last_modified"], said["version"]

    def _store(self) -> "ObjectStore":
        return _store_of(self.parent.url)

    @contextmanager
    def _asked(self) -> Iterator[None]:
        try:
            yield
        except _failures() as error:
            why = str(error).strip().splitlines()[0]
            raise UnavailableError(
                f"{self.url} cannot be reached: {why}.",
                "Check the store's address and credentials in the environment, and run again.",
            ) from error


class SeekableObject(io.RawIOBase):
    """A file of an object store as Python's own files are: read from wherever one seeks to."""

    def __init__(self, path: ObjectPath) -> None:
        super().__init__()
        self._reader = path.reader()

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self._reader.size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._reader.seek(offset, whence)

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer)
        octets = self._reader.read(len(view))
        view[: len(octets)] = octets
        return len(octets)


Location: TypeAlias = Path | ObjectPath


def _failures() -> tuple[type[Exception], ...]:
    from obstore.exceptions import BaseError

    return BaseError, OSError, ValueError


@lru_cache(64)
def _store_of(folder: str) -> "ObjectStore":
    # Loaded here, because most processes never meet an object store.
    from obstore.store import from_url

    return from_url(
        folder,
        retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_S)},
    )


def location_of(said: str) -> Location:
    """A folder or file by its path, or by a URL of one of SCHEMES or of a file.

    InvalidInputError where it is a URL of anything else.
    """
    parts = urlsplit(said)
    if "://" not in said:
        return Path(said).absolute()
    if parts.scheme == "file" and not parts.netloc:
        return Path(unquote(parts.path)).absolute()
    if parts.scheme in SCHEMES and parts.netloc and not parts.query and not parts.fragment:
        return ObjectPath(said.rstrip("/"))
    known = ", ".join(f"{scheme}://" for scheme in SCHEMES)
    raise InvalidInputError(
        f"{said} is no folder, and no object store that an archive can lie in.",
        f"Name a folder, file:///folder, or one of {known} with a bucket.",
        "to",
    )
