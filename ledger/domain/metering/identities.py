"""Tells first occurrences from duplicates and conflicts, by place or by id.

Invariant: of equal identities the first stored counts, within a call as across all time; other
content under the same identity is a conflict, never summed. An id or place is its owner's: what a
key bound to customers claims is apart from what others claim under it, but equal content is one.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import polars as pl

from ledger.domain.frames import are_repeated, in_order, keep_rows, only, with_series
from ledger.domain.metering.batch_identity import BatchIdentity
from ledger.domain.metering.decode import Reject
from ledger.domain.metering.event_key import KEY_COLUMNS, event_keys, key_columns
from ledger.domain.metering.fact import Fate

# Digest of an id that a correction took before its original came.
AWAITED = UUID(int=0)


def same_content(stored: UUID, offered: UUID) -> bool:
    """Whether the second of two equal identities is a duplicate, by their digests.

    Digests of two versions cannot differ in content: what was counted before an upgrade and is sent
    again after it is a duplicate, which is not summed, as a conflict would not be.
    """
    return stored == offered or stored.bytes[0] != offered.bytes[0]


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """The batch that took a place."""

    digest: UUID
    batch_seq: int
    ordinal_from: int
    events: int
    owner: str = ""


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A place to be taken by the batch at `ordinal_from` of the call."""

    identity: BatchIdentity
    digest: UUID
    ordinal_from: int
    events: int
    owner: str = ""


@dataclass(frozen=True, slots=True, order=True)
class EventId:
    """The id of a keyed event."""

    source_id: int
    event_id: str


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """The event that took an id."""

    digest: UUID
    batch_seq: int
    ordinal: int
    owner: str = ""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An id to be taken by the row at `ordinal` of the call."""

    event: EventId
    digest: UUID
    ordinal: int
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """For quarantine: a place in the call, why, and raw bytes if they are at hand.

    `items` is how many it stands for. `binding` is that of the key it came with, by which it is
    judged whenever it is read again. `sent_as` is of a dead letter, which is tried again whole:
    what else `Record` says of it beside its bytes.
    """

    ordinal: int
    reject: Reject
    raw: bytes | None
    items: int = 1
    binding: Mapping[str, object] | None = None
    sent_as: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Conflict:
    """Other content under an identity that is taken; `stored` None was taken in this very call.

    `items` rows from `ordinal` on were offered: those of a numbered batch, or one.
    """

    ordinal: int
    source_id: int
    event_id: str
    stored_digest: UUID
    offered_digest: UUID
    stored_batch_seq: int | None
    stored_ordinal: int
    items: int = 1


# `owner` is null of what is the house's.
UNKEYED_SCHEMA = {
    "row": pl.Int64,
    "source_id": pl.Int32,
    "id": pl.String,
    "digest": pl.Binary,
    "owner": pl.String,
}
KEYED_SCHEMA = {**UNKEYED_SCHEMA, **dict.fromkeys(KEY_COLUMNS, pl.UInt64)}


def with_keys(frame: pl.DataFrame) -> pl.DataFrame:
    """A frame of KEYED_SCHEMA, of one that has the columns of UNKEYED_SCHEMA."""
    keys = key_columns(event_keys(frame["source_id"], frame["id"]))
    return only(with_series(frame, *keys), tuple(KEYED_SCHEMA))


@dataclass(frozen=True, slots=True)
class NewEvents:
    """Ids to be taken: those nobody doubts as a frame of KEYED_SCHEMA, the others one by one."""

    plain: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=KEYED_SCHEMA))
    others: Sequence[NewEvent] = ()

    def listed(self) -> list[NewEvent]:
        """All of them, one by one."""
        return [*map(_new_event, only(self.plain, tuple(UNKEYED_SCHEMA)).iter_rows()), *self.others]

    def without(self, rows: Collection[int]) -> "NewEvents":
        """Those of other rows."""
        if not rows:
            return self
        plain = self.plain.filter(~pl.col("row").is_in(list(rows)))
        return NewEvents(plain, [event for event in self.others if event.ordinal not in rows])

    def framed(self) -> pl.DataFrame:
        """All of them by their keys."""
        plain = only(self.plain, tuple(KEYED_SCHEMA))
        others = [
            (c.ordinal, c.event.source_id, c.event.event_id, c.digest.bytes, c.owner or None)
            for c in self.others
        ]
        if others:
            framed = pl.DataFrame(others, schema=UNKEYED_SCHEMA, orient="row")
            plain = pl.concat([plain, with_keys(framed)])
        return in_order(plain, *KEY_COLUMNS)


def split_doubtful(
    keyed: pl.DataFrame, stored: Collection[EventId]
) -> tuple[pl.DataFrame, list[NewEvent]]:
    """Rows of KEYED_SCHEMA whose ids are new and come once, and claims of all the others."""
    doubtful = are_repeated(only(keyed, KEY_COLUMNS))
    if stored:
        known = pl.DataFrame(
            [(event.source_id, event.event_id) for event in stored],
            schema={"source_id": pl.Int32, "id": pl.String},
            orient="row",
        ).with_columns(stored=pl.lit(value=True))
        met = keyed.join(known, on=["source_id", "id"], how="left", maintain_order="left")
        doubtful |= met["stored"].fill_null(value=False).to_numpy()
    rest = keep_rows(only(keyed, tuple(UNKEYED_SCHEMA)), doubtful)
    return keep_rows(keyed, ~doubtful), [_new_event(row) for row in rest.rows()]


def _new_event(columns: tuple[int, int, str, bytes, str | None]) -> NewEvent:
    row, source_id, event_id, digest, owner = columns
    return NewEvent(EventId(source_id, event_id), UUID(bytes=digest), row, owner or "")


@dataclass(slots=True)
class Sorted:
    """What claims of one kind came to: new ones, and the fates of the others by their ordinal.

    `awaited` are rows whose ids a correction or another owner took before they came, `twins` rows
    that are equal to an earlier one of the call, and fare as it does.
    """

    fates: dict[int, Fate] = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)
    awaited: dict[int, EventId] = field(default_factory=dict)
    twins: dict[int, int] = field(default_factory=dict)

    def meet(
        self,
        taken: StoredEvent | StoredBatch | NewEvent | NewBatch,
        offered: NewEvent | NewBatch,
    ) -> None:
        """A claim met one that was there first."""
        ordinal, name, source_id = _identity(offered)
        if same_content(taken.digest, offered.digest):
            self.fates[ordinal] = Fate.DUPLICATE
            if isinstance(taken, NewEvent):
                self.twins[ordinal] = taken.ordinal
            return
        self.fates[ordinal] = Fate.CONFLICT
        stored_seq = taken.batch_seq if isinstance(taken, StoredEvent | StoredBatch) else None
        self.conflicts.append(
            Conflict(
                ordinal=ordinal,
                source_id=source_id,
                event_id=name,
                stored_digest=taken.digest,
                offered_digest=offered.digest,
                stored_batch_seq=stored_seq,
                stored_ordinal=_ordinal(taken),
                items=offered.events if isinstance(offered, NewBatch) else 1,
            )
        )


def sort_batches(
    offered: Sequence[NewBatch], stored: Mapping[BatchIdentity, Sequence[StoredBatch]]
) -> tuple[list[NewBatch], Sorted]:
    """New batches, and what became of the others."""
    new: list[NewBatch] = []
    rest = Sorted()
    for offer in offered:
        at: list[StoredBatch | NewBatch] = [*stored.get(offer.identity, ())]
        at += [each for each in new if each.identity == offer.identity]
        own = [each for each in at if each.owner == offer.owner]
        taken = next(iter(own or [each for each in at if each.digest == offer.digest]), None)
        if taken is None:
            new.append(offer)
        else:
            rest.meet(taken, offer)
    return new, rest


def sort_events(
    offered: Sequence[NewEvent], stored: Mapping[EventId, StoredEvent]
) -> tuple[list[NewEvent], Sorted]:
    """New events, and what became of the others; ids that are awaited or another's are left to
    the corrections, which know all that came under an id."""
    first: dict[EventId, NewEvent] = {}
    rest = Sorted()
    for offer in offered:
        taken = stored.get(offer.event) or first.setdefault(offer.event, offer)
        if taken.digest == AWAITED or taken.owner != offer.owner:
            rest.awaited[offer.ordinal] = offer.event
        elif taken is not offer:
            rest.meet(taken, offer)
    return list(first.values()), rest


def _identity(offer: NewEvent | NewBatch) -> tuple[int, str, int]:
    if isinstance(offer, NewEvent):
        return offer.ordinal, offer.event.event_id, offer.event.source_id
    at = offer.identity
    return offer.ordinal_from, f"{at.producer}/{at.epoch}/{at.sequence}", at.source_id


def _ordinal(taken: StoredEvent | StoredBatch | NewEvent | NewBatch) -> int:
    if isinstance(taken, StoredEvent | NewEvent):
        return taken.ordinal
    return taken.ordinal_from


CONFLICT_COLUMNS = (
    *("batch_seq", "ordinal", "source_id", "event_id", "stored_digest", "offered_digest"),
    *("stored_batch_seq", "stored_ordinal", "items"),
)


def conflict_row(conflict: Conflict, *, batch_seq: int) -> tuple[object, ...]:
    """A row of conflict, in the order of CONFLICT_COLUMNS."""
    stored_seq = batch_seq if conflict.stored_batch_seq is None else conflict.stored_batch_seq
    return (
        *(
            batch_seq,
            conflict.ordinal,
            conflict.source_id,
            conflict.event_id,
            conflict.stored_digest,
        ),
        *(conflict.offered_digest, stored_seq, conflict.stored_ordinal, conflict.items),
    )
