"""A file is known by its bytes: under a second name its requests would count twice."""

from ledger.domain.errors import ConflictError
from ledger.store.metering.backfill import find_loaded_file, insert_loaded_file
from ledger.store.queries import Connection


async def remember_file(
    connection: Connection, digest: bytes, source: str, *, actor: str, again: bool, dry_run: bool
) -> None:
    """Keep that the bytes with this SHA-256 are loaded as `source`.

    ConflictError where they were loaded as another, unless `again`. A dry run keeps nothing.
    """
    if not dry_run:
        await insert_loaded_file(connection, digest, source=source, actor=actor)
    known = await find_loaded_file(connection, digest)
    if known is None or known.source == source or again:
        return
    first = known.source
    raise ConflictError(
        f"The same bytes were loaded as {first} on {known.loaded_at:%F %R}Z: loaded as {source},"
        " every request in them would count twice.",
        f"To go on with that load say --source {first}; if they are meant once more say --again.",
    )
