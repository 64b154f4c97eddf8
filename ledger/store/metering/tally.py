"""Adds usage up by key and local day, stretch by stretch of the stored order."""

from datetime import datetime
from typing import NamedTuple

from ledger.domain.entity import LegalEntity
from ledger.store.queries import Connection, load_queries

TALLY = load_queries("metering/tally")


class LastTally(NamedTuple):
    """How far in the stored order usage is tallied, and since when."""

    until_seq: int
    tallied_at: datetime


async def find_last_tally(connection: Connection, *, entity_id: str) -> LastTally | None:
    """The last tally of an entity, or None."""
    return await TALLY["find_last_tally"].first(connection, LastTally, entity_id=entity_id)


async def add_tally(
    connection: Connection, entity: LegalEntity, *, since_seq: int, batch_seq: int, now: datetime
) -> int:
    """Tally usage of (since_seq, batch_seq]; how many sums of days it adds."""
    return await TALLY["add_tally"].run(
        connection,
        entity_id=entity.entity_id,
        zone=entity.zone,
        since_seq=since_seq,
        batch_seq=batch_seq,
        now=now,
    )
