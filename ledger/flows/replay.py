"""Reads quarantined items again: what is understood now changes its fate, once."""

from collections.abc import Sequence
from datetime import datetime

from ledger.domain.errors import ConflictError, NotFoundError
from ledger.domain.fact import Reason
from ledger.domain.ingest.record import ItemOutcome, Record, ReplayOf
from ledger.flows.directory import DirectoryCache
from ledger.flows.ingest import ingest
from ledger.flows.limits import IngestLimits
from ledger.store.queries import Connection
from ledger.store.suspense import Quarantined, expire_raw, find_quarantined

# What was refused as a whole has lost the header that said where it stood.
_HEADERLESS = {Reason.BAD_HEADER, Reason.COUNT_MISMATCH, Reason.BODY_TOO_LARGE}
# What is void stays so, whatever comes: it has taken its id.
_VOID = {Reason.NOT_AN_ORIGINAL, Reason.FORBIDDEN_TARGET}


async def replay_quarantine(
    connection: Connection,
    quarantine_ids: Sequence[int],
    *,
    directory: DirectoryCache,
    now: datetime,
    limits: IngestLimits,
    actor: str = "",
) -> dict[int, ItemOutcome]:
    """What became of each item, by its id, in one transaction; one refused again stays.

    NotFoundError for an id that is not there; ConflictError for an item that was replayed already,
    whose raw bytes have expired or were cut, that was a whole batch, or that is void.
    """
    found = await find_quarantined(connection, sorted(set(quarantine_ids)))
    missing = set(quarantine_ids) - {item.quarantine_id for item in found}
    if missing:
        raise NotFoundError(f"There is no quarantined item {min(missing)}.")
    records = [_record(item, actor) for item in found]
    outcomes = await ingest(connection, records, directory=directory, now=now, limits=limits)
    return {
        item.quarantine_id: next(outcome.items())
        for item, outcome in zip(found, outcomes, strict=True)
    }


async def expire_quarantine(connection: Connection, *, now: datetime) -> int:
    """Delete the raw bytes whose time is over; returns how many."""
    return await expire_raw(connection, now=now)


def _record(item: Quarantined, actor: str) -> Record:
    name = f"Quarantined item {item.quarantine_id}"
    if item.replayed:
        raise ConflictError(f"{name} was replayed already.", "Look at what became of it.")
    if item.reason in _VOID:
        raise ConflictError(
            f"{name} ({item.reason}) names what it cannot replace, and always will.",
            "Have its producer send a correction of the original, with another id.",
        )
    if item.raw is None or item.truncated or item.reason in _HEADERLESS:
        raise ConflictError(
            f"{name} ({item.reason}) cannot be replayed: its bytes are not kept in full.",
            "Have it sent again by its producer.",
        )
    return Record(
        body=item.raw,
        transport="internal",
        position=f"quarantine/{item.quarantine_id}",
        actor=actor,
        replay_of=ReplayOf(item.quarantine_id, item.batch_seq, item.ordinal, item.target),
    )
