"""What stands of rows that were loaded before."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.store.queries import Connection, load_queries

BACKFILL = load_queries("metering/backfill")


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """The source that a file was loaded as first, and when."""

    source: str
    loaded_at: datetime


@dataclass(frozen=True, slots=True)
class StandingCorrection:
    """The correction that stands of an event of a source, and where it is."""

    source_id: int
    target: str
    revision: int
    batch_seq: int
    ordinal: int


async def find_standing_corrections(
    connection: Connection, *, source: str, targets: Sequence[str]
) -> dict[str, StandingCorrection]:
    """The correction that stands, for each event that has one."""
    standing = await BACKFILL["find_standing_corrections"].values(
        connection, StandingCorrection, source=source, targets=list(targets)
    )
    return {each.target: each for each in standing}


async def insert_loaded_file(
    connection: Connection, digest: bytes, *, source: str, actor: str
) -> None:
    """Keep a file by its SHA-256, where it is not kept already."""
    await BACKFILL["insert_loaded_file"].run(connection, sha256=digest, source=source, actor=actor)


async def find_loaded_file(connection: Connection, digest: bytes) -> LoadedFile | None:
    """What bytes of this SHA-256 were loaded as first, or None."""
    return await BACKFILL["find_loaded_file"].first(connection, LoadedFile, sha256=digest)
