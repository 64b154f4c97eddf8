"""Reads quarantined items again: what is understood now changes its fate, once."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from ledger.domain.author import Author, check_reason
from ledger.domain.errors import ConflictError, NotFoundError
from ledger.domain.metering.directory import Directory
from ledger.domain.metering.fact import Reason
from ledger.domain.metering.permission import Binding
from ledger.domain.metering.record import ItemOutcome, Record, ReplayOf
from ledger.flows.metering.aside import is_of_content
from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.ingest import ingest
from ledger.flows.metering.limits import IngestLimits
from ledger.store.metering.conflicts import expire_offers
from ledger.store.metering.suspense import (
    Quarantined,
    dismiss_quarantined,
    expire_raw,
    find_quarantined,
)
from ledger.store.queries import Connection
from ledger.wire.batch import BatchHeader

# What was refused as a whole has lost the header that said where it stood.
_HEADERLESS = {
    Reason.BAD_HEADER,
    Reason.COUNT_MISMATCH,
    Reason.BODY_TOO_LARGE,
    Reason.TOO_MANY_ITEMS,
    Reason.MORE_REFUSED,
}
# What is void stays so, whatever comes: it has taken its id.
_VOID = {Reason.NOT_AN_ORIGINAL, Reason.FORBIDDEN_TARGET}


async def replay_quarantine(  # what is asked, and beside what it is read
    connection: Connection,
    quarantine_ids: Sequence[int],
    *,
    directory: DirectoryCache,
    now: datetime,
    limits: IngestLimits,
    actor: str = "",
    leave_hopeless: bool = False,
) -> dict[int, ItemOutcome]:
    """What became of each item, by its id; one refused again stays, and stops no other.

    Each is judged by what the key of its sender was bound to, whoever asks. NotFoundError for an
    id that is not there; ConflictError for an item that was replayed or
    dismissed already, whose raw bytes have expired or were cut, that was a whole batch, or that is
    void; with `leave_hopeless` such an item is passed over.
    """
    refused = await _found(connection, quarantine_ids)
    known = await directory.read(connection)
    records: dict[int, Record] = {}
    for item in refused:
        try:
            records[item.quarantine_id] = _record(item, known, actor)
        except ConflictError:
            if not leave_hopeless:
                raise
    if not records:
        return {}

    async def read(which: Sequence[int]) -> dict[int, ItemOutcome]:
        outcomes = await ingest(
            connection, [records[n] for n in which], directory=directory, now=now, limits=limits
        )
        return {n: next(outcome.items()) for n, outcome in zip(which, outcomes, strict=True)}

    try:
        return await read(list(records))
    except Exception as error:
        if not is_of_content(error):
            raise
    return {n: await _alone(n, read) for n in records}


async def _found(connection: Connection, quarantine_ids: Sequence[int]) -> list[Quarantined]:
    refused = await find_quarantined(connection, sorted(set(quarantine_ids)))
    missing = set(quarantine_ids) - {item.quarantine_id for item in refused}
    if missing:
        raise NotFoundError(f"There is no quarantined item {min(missing)}.")
    return refused


async def _alone(
    quarantine_id: int, read: Callable[[Sequence[int]], Awaitable[dict[int, ItemOutcome]]]
) -> ItemOutcome:
    try:
        return (await read([quarantine_id]))[quarantine_id]
    except Exception as error:
        if not is_of_content(error):
            raise
        detail = f"it still cannot be stored: {type(error).__name__}: {error}"
        return ItemOutcome(0, "rejected", None, Reason.UNSTORABLE, detail)


async def dismiss_quarantine(
    connection: Connection, quarantine_ids: Sequence[int], author: Author, *, now: datetime
) -> int:
    """Say that nobody waits for these items any more; returns how many did.

    NotFoundError for an id that is not there, InvalidInputError where no reason is given.
    """
    check_reason(author)
    await _found(connection, quarantine_ids)
    return await dismiss_quarantined(connection, sorted(set(quarantine_ids)), author, now=now)


async def expire_quarantine(connection: Connection, *, now: datetime) -> int:
    """Delete raw bytes and offers of conflicts whose time is over; returns how many."""
    return await expire_raw(connection, now=now) + await expire_offers(connection, now=now)


def _record(item: Quarantined, known: Directory, actor: str) -> Record:
    name = f"Quarantined item {item.quarantine_id}"
    if item.replayed or item.dismissed:
        done = "replayed" if item.replayed else "dismissed"
        raise ConflictError(f"{name} was {done} already.", "Look at what became of it.")
    if item.reason in _VOID:
        raise ConflictError(
            f"{name} ({item.reason}) names what it cannot replace, and always will.",
            "Have its producer send a correction of the original, with another id.",
        )
    if item.raw is None or item.truncated or item.reason in _HEADERLESS:
        raise ConflictError(
            f"{name} ({item.reason}) cannot be replayed: its bytes are not kept in full.",
            "Have it sent again by its producer, or fetch it from where its detail says it stands.",
        )
    whole = item.sent_as is not None
    binding = None if item.binding is None else Binding.from_fields(item.binding)
    again = Record(
        body=item.raw,
        transport="internal",
        position=f"quarantine/{item.quarantine_id}",
        actor=actor,
        permission=None if binding is None else binding.permission(known),
        replay_of=ReplayOf(item.quarantine_id, item.batch_seq, item.ordinal, item.target, whole),
    )
    return again if item.sent_as is None else _as_sent(again, item.sent_as)


def _as_sent(record: Record, sent_as: Mapping[str, Any]) -> Record:
    """A dead letter with its place."""
    return replace(
        record,
        header=BatchHeader.from_headers(sent_as["header"] or {}),
        encoding=sent_as["encoding"],
        lane=sent_as["lane"],
    )
