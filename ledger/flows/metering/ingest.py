"""Stores what was received: one transaction for facts, duplicates, deltas, quarantine and position.

    ingest(connection, records, *, directory, now, limits, moves=()) -> list[RecordOutcome]

`connection` is one of the worker role, not inside a transaction. `records` are `Record`s
(`ledger.domain.metering.record`): a body of NDJSON, of one CloudEvent or of a JSON array of them,
with a `BatchHeader` where the source is sequenced. `directory` is the process's `DirectoryCache`.
Each `RecordOutcome` has `received`, `counts` per `Fate`, and `items()`: created, suspense,
superseded, duplicate, conflict or rejected (with reason and detail) for each item, in order.
`limits` is an `IngestLimits`; `moves` are the Kafka positions that commit with the batch.
Sending the same again is safe. `prepare_storage(connection, now=...)` makes the daily partitions
and is called once at start and when the day changes.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeVar

import polars as pl

from ledger.domain.frames import are_known
from ledger.domain.metering.batch_identity import BatchIdentity, identity_lock
from ledger.domain.metering.bodies import let_bodies_go
from ledger.domain.metering.decode import Reject
from ledger.domain.metering.directory import Directory
from ledger.domain.metering.fact import Fate
from ledger.domain.metering.identities import (
    CONFLICT_COLUMNS,
    Conflict,
    EventId,
    NewBatch,
    NewEvents,
    Refused,
    conflict_row,
    sort_batches,
)
from ledger.domain.metering.items import Items, split_records
from ledger.domain.metering.judge import digest_own, records_taking_ids
from ledger.domain.metering.prepare import (
    Prepared,
    digest_batches,
    drop_rows,
    prepare,
    prepare_items,
)
from ledger.domain.metering.receipts import RECEIPT_COLUMNS, outcomes, receipt_rows
from ledger.domain.metering.record import Record, RecordOutcome
from ledger.domain.metering.target import CorrectionTarget, event_target
from ledger.flows.metering.beside import beside
from ledger.flows.metering.change_tables import changing_tables
from ledger.flows.metering.commit import commit
from ledger.flows.metering.commit_order import (
    ALONE,
    BudgetedSinceError,
    CommitOrder,
    IdLostError,
)
from ledger.flows.metering.correct import Corrected, settle_corrections
from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.duplicate_filter import DuplicateFilter
from ledger.flows.metering.duplicates import take_ids
from ledger.flows.metering.encode import encode
from ledger.flows.metering.keep_refused import keep_offers, keep_refused
from ledger.flows.metering.limits import IngestLimits
from ledger.flows.metering.resolve import ResolvedCall, resolve
from ledger.flows.metering.stored import Stored
from ledger.store.copying import copy_rows
from ledger.store.metering import ingest as store
from ledger.store.metering.correction import FateChange, copy_fate_changes, insert_corrections
from ledger.store.metering.directory import find_budgeted
from ledger.store.metering.event_keys import (
    DrawnBatch,
    copy_event_keys,
    draw_batch,
    take_event_keys,
)
from ledger.store.metering.few import insert_receipts
from ledger.store.metering.positions import PositionMove
from ledger.store.queries import Connection

T = TypeVar("T")
REPLAY_COLUMNS = ("quarantine_id", "batch_seq", "ordinal", "fate")
PARTITION_DAYS = 8


@dataclass(slots=True)
class _Call:
    """A call between its checks and its writes; `fates` has the rows that were not counted."""

    resolved: ResolvedCall
    duplicate_filter: DuplicateFilter
    now: datetime
    limits: IngestLimits
    fates: dict[int, Fate] = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)
    new_batches: list[NewBatch] = field(default_factory=list)
    new_events: NewEvents = field(default_factory=NewEvents)
    awaited: dict[int, EventId] = field(default_factory=dict)
    twins: dict[int, int] = field(default_factory=dict)
    corrected: Corrected = field(default_factory=Corrected)
    stored: Stored | None = None
    batch_seq: int = 0

    @property
    def prepared(self) -> Prepared:
        """The items and frames of the call."""
        return self.resolved.prepared

    @property
    def directory(self) -> Directory:
        """The slow facts by which it was resolved."""
        return self.resolved.directory

    async def take_ids(self, connection: Connection) -> int:
        await _sort_batches(connection, self)
        await _sort_events(connection, self)
        await _correct(connection, self)
        _suspend(self)
        self.stored = await _stored(self)
        drawn = await _take_ids(connection, self)
        if drawn.directory_version != self.directory.version:
            await _check_budgets(connection, self)
        self.batch_seq = drawn.batch_seq
        return drawn.batch_seq

    async def write(self, connection: Connection, batch_seq: int) -> list[RecordOutcome]:
        assert self.stored is not None, "rows are written after their ids were taken"
        await self.stored.copy(connection, batch_seq)
        told = outcomes(self.prepared, self.fates, batch_seq=batch_seq)
        await _keep_receipts(connection, self, told)
        return told

    async def finish(self, connection: Connection) -> None:
        assert self.stored is not None, "what is counted was written"
        await self.stored.count_use(connection, self.batch_seq, self.now)


async def ingest(
    connection: Connection,
    records: Sequence[Record],
    *,
    directory: DirectoryCache,
    now: datetime,
    limits: IngestLimits,
    moves: Sequence[PositionMove] = (),
) -> list[RecordOutcome]:
    """Store the records in one transaction and say what became of each item.

    PositionLostError where a partition of `moves` does not stand where expected; UnavailableError
    where other writers kept taking the same ids.
    """
    prepared = await prepare_records(records, now=now, limits=limits)
    return await store_prepared(
        connection, prepared, directory=directory, now=now, limits=limits, moves=moves
    )


async def prepare_records(
    records: Sequence[Record], *, now: datetime, limits: IngestLimits
) -> Prepared:
    """The part of `ingest` that needs no database, beside whatever else goes on."""
    items = sum(record.items_guessed() for record in records)
    return await beside(items, _prepare, records, now, limits)


def _prepare(records: Sequence[Record], now: datetime, limits: IngestLimits) -> Prepared:
    prepared = prepare(
        records, now=now, body_bytes_max=limits.body_bytes_max, earliest=limits.earliest
    )
    digest_own(prepared)
    return prepared


async def resolve_prepared(
    connection: Connection,
    prepared: Prepared,
    *,
    directory: DirectoryCache,
    now: datetime,
    limits: IngestLimits,
) -> ResolvedCall:
    """The part of `ingest` that registers names and encodes rows, before the transaction."""
    return await resolve(connection, prepared.fork(), directory=directory, now=now, limits=limits)


async def store_prepared(  # noqa: PLR0913  # what a batch brings, and beside whom it is stored
    connection: Connection,
    prepared: Prepared,
    *,
    directory: DirectoryCache,
    now: datetime,
    limits: IngestLimits,
    moves: Sequence[PositionMove] = (),
    resolved: ResolvedCall | None = None,
    order: CommitOrder = ALONE,
) -> list[RecordOutcome]:
    """The rest of `ingest`; `resolved` is used once, a second try looks at everything again."""
    offer = _Offer(prepared, directory, now, limits, resolved)
    return await commit(connection, offer, moves=moves, order=order)


@dataclass(slots=True)
class Intake:
    """`ingest` in the stages of a pipeline, for who hands records over and keeps none."""

    limits: IngestLimits
    directory: DirectoryCache = field(default_factory=DirectoryCache)

    async def read(self, records: Iterable[Record], now: datetime) -> Prepared:
        """The part that needs no database; bodies that nobody will ask for are let go."""
        limits, known = self.limits, self.directory.snapshot
        items = await asyncio.to_thread(
            split_records, records, body_bytes_max=limits.body_bytes_max
        )
        return await asyncio.to_thread(_prepare_laid_out, items, now, known, limits)

    async def offer(self, connection: Connection, prepared: Prepared, now: datetime) -> "_Offer":
        """The part before the transaction, which needs no body."""
        await asyncio.to_thread(_digest, prepared)
        resolved = await resolve_prepared(
            connection, prepared, directory=self.directory, now=now, limits=self.limits
        )
        return _Offer(prepared, self.directory, now, self.limits, resolved)


def _prepare_laid_out(
    items: Items, now: datetime, known: Directory | None, limits: IngestLimits
) -> Prepared:
    prepared = prepare_items(items, now=now, earliest=limits.earliest)
    let_bodies_go(prepared, known)
    return prepared


def _digest(prepared: Prepared) -> None:
    digest_batches(prepared)
    digest_own(prepared)


@dataclass(slots=True)
class _Offer:
    """A call that is stored as often as it takes; `resolved` is what its first try begins with."""

    prepared: Prepared
    directory: DirectoryCache
    now: datetime
    limits: IngestLimits
    resolved: ResolvedCall | None
    _tried: ResolvedCall | None = None

    async def attempt(self, connection: Connection) -> "_Call":
        ready, self.resolved, self._tried = self.resolved, None, None
        self._tried = ready or await resolve_prepared(
            connection,
            self.prepared,
            directory=self.directory,
            now=self.now,
            limits=self.limits,
        )
        return _Call(self._tried, self.directory.duplicate_filter, self.now, self.limits)

    def look_up_all(self) -> None:
        if self._tried is not None:
            self.directory.duplicate_filter.raise_for(self._tried.keyed["source_id"].unique())

    async def make_partitions(self, connection: Connection) -> None:
        await prepare_storage(connection, now=self.now)


async def prepare_storage(connection: Connection, *, now: datetime) -> int:
    """Make the daily partitions from the day of `now` a week ahead; returns how many were new.

    UnavailableError where something else changes these tables and does not end.
    """
    day = now.astimezone(UTC).date()
    return await changing_tables(
        lambda: store.ensure_partitions(connection, day, days=PARTITION_DAYS)
    )


async def _stored(call: _Call) -> Stored:
    superseded = [row for row, fate in call.fates.items() if fate is Fate.SUPERSEDED]
    superseded += call.corrected.void
    reversals = call.corrected.reversals
    if call.resolved.is_whole() and not superseded and reversals is None:
        return call.resolved.stored
    return await beside(
        call.prepared.usage.height,
        encode,
        call.prepared,
        call.directory,
        now=call.now,
        limits=call.limits,
        superseded=superseded,
        reversals=reversals,
        reversed_extras=call.corrected.extras,
    )


async def _sort_batches(connection: Connection, call: _Call) -> None:
    prepared = call.prepared
    offered = [_new_batch(call, n) for n in records_taking_ids(prepared, call.directory)]
    pointed = [*call.resolved.targets.values(), *_replayed(prepared).values()]
    # Of two corrections of one event the second has to see the first, whichever revision it is.
    locks = [identity_lock(batch.identity) for batch in offered] + [
        target.lock() for target in pointed
    ]
    if locks:
        await store.lock_identities(connection, locks)
    if not offered:
        return
    stored = await store.find_batches(connection, [batch.identity for batch in offered])
    call.new_batches, rest = sort_batches(offered, stored)
    sizes = {batch.ordinal_from: batch.events for batch in offered}
    for first, fate in rest.fates.items():
        for row in range(first, first + sizes[first]):
            call.fates[row] = fate
            # A batch that counted before has had its say about bad events.
            prepared.rejects.pop(row, None)
    call.conflicts += rest.conflicts
    drop_rows(prepared, call.fates)


def _new_batch(call: _Call, record: int) -> NewBatch:
    header = call.prepared.records[record].header
    assert header is not None
    source = call.directory.sources[header.source]
    return NewBatch(
        identity=BatchIdentity(source.source_id, header.producer, header.epoch, header.sequence),
        digest=call.prepared.batches[record],
        ordinal_from=int(call.prepared.items.firsts[record]),
        events=int(call.prepared.items.sizes[record]),
        owner=call.prepared.owner_of(record),
    )


async def _sort_events(connection: Connection, call: _Call) -> None:
    keyed = call.resolved.keyed
    if not keyed.height:
        return
    call.new_events, rest = await take_ids(connection, keyed, call.duplicate_filter)
    call.fates.update(rest.fates)
    call.conflicts += rest.conflicts
    call.awaited, call.twins = rest.awaited, rest.twins
    if rest.awaited:
        # What waits for them may be joined by another meanwhile, and has to see who came.
        locks = {event_target(event).lock() for event in rest.awaited.values()}
        await store.lock_identities(connection, locks)
    drop_rows(call.prepared, rest.fates)


def _replayed(prepared: Prepared) -> dict[int, CorrectionTarget]:
    return {
        first: record.replay_of.target
        for first, record in zip(prepared.items.firsts.tolist(), prepared.records, strict=True)
        if record.replay_of is not None and record.replay_of.target is not None
    }


async def _correct(connection: Connection, call: _Call) -> None:
    corrected = await settle_corrections(
        connection,
        call.prepared,
        targets=call.resolved.targets,
        events=call.new_events,
        batches=call.new_batches,
        awaited=call.awaited,
        replayed=_replayed(call.prepared),
    )
    call.corrected = corrected
    call.fates.update(corrected.fates)
    call.conflicts += corrected.conflicts + _of_twins(call, corrected.conflicts)
    away = corrected.away | _away_twins(call, corrected.away)
    call.prepared.rejects.update(corrected.void | away)
    refused = away.keys() | {conflict.ordinal for conflict in corrected.conflicts}
    # Neither what is refused nor a conflict of a revision claims the id it came with.
    kept = call.new_events.without(refused)
    call.new_events = replace(kept, others=[*kept.others, *corrected.awaited])
    gone = {row for row, fate in corrected.fates.items() if fate is not Fate.SUPERSEDED}
    drop_rows(call.prepared, gone | away.keys())


def _away_twins(call: _Call, away: Mapping[int, Reject]) -> dict[int, Reject]:
    twins = {row: away[lead] for row, lead in call.twins.items() if lead in away}
    for row in twins:
        del call.fates[row]
    return twins


def _of_twins(call: _Call, conflicts: Sequence[Conflict]) -> list[Conflict]:
    """What equals a revision that was refused is refused as well, as it would be on its own."""
    refused = {conflict.ordinal: conflict for conflict in conflicts}
    twins = {row: refused[lead] for row, lead in call.twins.items() if lead in refused}
    call.fates.update(dict.fromkeys(twins, Fate.CONFLICT))
    return [replace(conflict, ordinal=row) for row, conflict in twins.items()]


def _suspend(call: _Call) -> None:
    usage = call.prepared.usage
    known = are_known(usage["customer_id"])
    for row in [] if known is None else usage["row"].filter(pl.Series(~known)):
        call.fates.setdefault(row, Fate.SUSPENSE)
    call.fates.update(dict.fromkeys(call.prepared.rejects, Fate.QUARANTINED))


async def _check_budgets(connection: Connection, call: _Call) -> None:
    """Behind its number nobody counts for it what it does not: `count_entered`."""
    since = await find_budgeted(connection) - call.directory.budgeted
    moved = [call.prepared.usage, call.corrected.reversals]
    if any(not since.isdisjoint(frame["customer_id"]) for frame in moved if frame is not None):
        raise BudgetedSinceError


async def _take_ids(connection: Connection, call: _Call) -> DrawnBatch:
    """Draw the number of the call and take what it claims under it."""
    keyed = call.new_events.framed()
    few = 0 < keyed.height <= call.limits.few_rows
    drawn = await (take_event_keys(connection, keyed) if few else draw_batch(connection))
    batch_seq = drawn.batch_seq
    if call.new_batches:
        batches = sorted(call.new_batches, key=lambda c: (astuple(c.identity), c.owner))
        taken = await store.insert_batches(connection, batches, batch_seq=batch_seq)
        if taken != len(batches):
            raise IdLostError
    if keyed.height and not few:
        await copy_event_keys(connection, keyed, batch_seq=batch_seq)
    revisions, changes = call.corrected.revisions, call.corrected.changes
    if revisions:
        taken = await insert_corrections(connection, revisions, batch_seq=batch_seq)
        if taken != len(revisions):
            raise IdLostError
    if changes:
        await copy_fate_changes(connection, changes, batch_seq=batch_seq)
    return drawn


async def _keep_receipts(connection: Connection, call: _Call, told: list[RecordOutcome]) -> None:
    if not told:
        return
    batch_seq, prepared, now, limits = told[0].batch_seq, call.prepared, call.now, call.limits
    receipts = receipt_rows(prepared, told, call.directory, now=now)
    if 0 < len(receipts) <= limits.few_rows:
        await insert_receipts(connection, receipts)
    else:
        await copy_rows(connection, "receipt", RECEIPT_COLUMNS, receipts)
    again = await _keep_replays(connection, call, batch_seq)
    names = {each.source_id: name for name, each in call.directory.sources.items()}
    undone = [
        Refused(each.ordinal, replace(each.reject, source=names[each.source_id]), None)
        for each in call.corrected.undone
    ]
    await keep_refused(
        connection,
        prepared,
        leaving_out=again,
        undone=undone,
        batch_seq=batch_seq,
        now=now,
        limits=limits,
    )
    if call.conflicts:
        conflicts = [conflict_row(each, batch_seq=batch_seq) for each in call.conflicts]
        await copy_rows(connection, "conflict", CONFLICT_COLUMNS, conflicts)
        await keep_offers(
            connection, prepared, call.conflicts, batch_seq=batch_seq, now=now, limits=limits
        )


async def _keep_replays(connection: Connection, call: _Call, batch_seq: int) -> set[int]:
    """Replays have been received before: they change a fate, or stay as they are. Their rows."""
    replays = {
        first: record.replay_of
        for first, record in zip(
            call.prepared.items.firsts.tolist(), call.prepared.records, strict=True
        )
        if record.replay_of is not None
    }
    # What turns out to be void is decided, and listed anew with that reason.
    void = call.corrected.void
    read = {
        row: (replay, call.fates.get(row, Fate.COUNTED))
        for row, replay in replays.items()
        if row not in call.prepared.rejects or replay.whole or row in void
    }
    changes = [
        FateChange(row, replay.batch_seq, replay.ordinal, Fate.QUARANTINED, fate, "replayed")
        for row, (replay, fate) in read.items()
        if not replay.whole
    ]
    if read:
        replayed = [
            (replay.quarantine_id, batch_seq, row, fate) for row, (replay, fate) in read.items()
        ]
        await copy_rows(connection, "quarantine_replay", REPLAY_COLUMNS, replayed)
        await copy_fate_changes(connection, changes, batch_seq=batch_seq)
    return {row for row, replay in replays.items() if not replay.whole and row not in void}
