"""Keeps the slow facts that ingest needs at hand, and reads them again when they changed."""

from ledger.domain.directory import Directory
from ledger.domain.ingest.resolve import EngineKeyRow, UsageKeyRow
from ledger.store.directory import read_directory, read_directory_version
from ledger.store.queries import Connection


class DirectoryCache:
    """One for each process; also remembers which keys are known to be stored."""

    def __init__(self) -> None:
        self._directory: Directory | None = None
        self.usage_keys: dict[int, UsageKeyRow] = {}
        self.engine_keys: dict[int, EngineKeyRow] = {}

    async def current(self, connection: Connection) -> Directory:
        """The directory, read again where its version moved: one small query otherwise."""
        version = await read_directory_version(connection)
        if self._directory is None or self._directory.version != version:
            self._directory = await read_directory(connection, version)
        return self._directory
