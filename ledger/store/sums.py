"""Sums that follow: what large batches add to windows is kept as frames, and many become rows at
once, a moment later.

Invariant: what is summed up to a batch is committed as a whole, below every cut-off drawn after it;
rows merge up to a kept cut-off and never across it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from hashlib import sha256
from io import BytesIO

import numpy as np
import polars as pl

from ledger.domain.frames import only, with_series
from ledger.domain.metering.extra_rows import EXTRA_DELTA_COLUMNS
from ledger.domain.metering.fact import MARKS
from ledger.domain.metering.merged_rows import added_up
from ledger.domain.metering.numbering import grouped
from ledger.domain.metering.rows import (
    USAGE_DELTA_COLUMNS,
    USAGE_MARK_COLUMNS,
)
from ledger.domain.metering.spread import METERS, WORK
from ledger.store.binary import Rows
from ledger.store.copying import copy_binary
from ledger.store.metering.ingest import encode_activity, encode_masks
from ledger.store.queries import Connection, load_queries

SUMS = load_queries("sums")
_LARGEST = 2**63 - 1
_USAGE = ("usage_key_id", "window_start")
_ACTIVITY = ("engine_key_id", "window_start", "usage_key_id")
_BUSY = ("engine_key_id", "window_start")
Added = Mapping[str, Sequence[pl.DataFrame]]
# Above the highest number of a batch: no kept cut-off sees it.
_UNSEEN = -1
# How many steps one transaction takes: it keeps new cut-offs out.
STEPS = 16


@dataclass(frozen=True, slots=True)
class SumKind:
    """What is added up for one table: rows of the same keys become one, of counts or of bits.

    `encode` makes rows of a frame, whose number may come later; `order` is that of the rows, and
    `following` are columns that the keys decide. A batch keeps `beside` too, and may have rows of
    the same keys.
    """

    table: str
    keys: Sequence[str]
    counts: Sequence[str]
    encode: Callable[[pl.DataFrame], Rows]
    order: Sequence[str]
    following: Sequence[str] = ()
    beside: Sequence[str] = ()

    @property
    def columns(self) -> Sequence[str]:
        """What is merged."""
        return (*self.keys, *self.following, *(self.counts or ("mask",)))

    def merged(self, frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """Rows of many batches, each under the first kept cut-off that sees it, added up, in their
        order, some at a time."""
        if self.counts:
            keys = list(dict.fromkeys((*self.order, "seen_at")))
            return added_up(frame, keys, self.counts, self.following)
        return iter([_either(frame, self.keys).sort(self.order)])


def _rows_of(columns: Sequence[str], frame: pl.DataFrame) -> Rows:
    return Rows.of(frame, [name for name in columns if name in frame.columns])


KINDS: Mapping[str, SumKind] = {
    "usage": SumKind(
        "usage_delta",
        _USAGE,
        ("requests", *METERS),
        partial(_rows_of, (*USAGE_DELTA_COLUMNS, "first_batch_seq")),
        ("customer_id", "window_start", "usage_key_id"),
        following=("customer_id",),
        beside=("engine_key_id",),
    ),
    "marks": SumKind(
        "usage_mark",
        _USAGE,
        tuple(MARKS),
        partial(_rows_of, USAGE_MARK_COLUMNS),
        ("customer_id", "window_start", "usage_key_id"),
        following=("customer_id",),
    ),
    "extras": SumKind(
        "extra_delta",
        (*_USAGE, "meter"),
        ("quantity",),
        partial(_rows_of, EXTRA_DELTA_COLUMNS),
        ("customer_id", "window_start", "usage_key_id", "meter"),
        following=("customer_id",),
    ),
    "activity": SumKind(
        "activity",
        _ACTIVITY,
        WORK,
        encode_activity,
        ("window_start", "engine_key_id", "seen_at", "usage_key_id"),
    ),
    "masks": SumKind("activity_mask", _BUSY, (), encode_masks, ("window_start", "engine_key_id")),
}


@dataclass(frozen=True, slots=True)
class EncodedSums:
    """What a batch adds to windows, but for its number."""

    moves: int
    reach: int
    sha256: bytes
    usage: bytes | None
    marks: bytes | None
    extras: bytes | None
    activity: bytes | None
    masks: bytes | None

    @classmethod
    def of(cls, added: Mapping[str, pl.DataFrame]) -> "EncodedSums":
        """Encode a frame a kind, at least one; usage with the engine key where all of it was worked
        on in its window, and activity beyond that."""
        octets = {name: _encode(KINDS[name], frame) for name, frame in added.items()}
        reach = sum(_reach(frame, KINDS[name].counts) for name, frame in added.items())
        return cls(
            moves=sum(frame.height for frame in added.values()),
            reach=min(reach, _LARGEST),
            sha256=_digest(octets),
            **{name: octets.get(name) for name in KINDS},
        )


@dataclass(frozen=True, slots=True)
class PendingSum:
    """What a batch adds to windows, as stored; `seen_at` is the first kept cut-off that sees it."""

    batch_seq: int
    seen_at: int | None
    sha256: bytes
    usage: bytes | None
    marks: bytes | None
    extras: bytes | None
    activity: bytes | None
    masks: bytes | None

    @property
    def octets(self) -> dict[str, bytes]:
        """The frames that are there, by kind."""
        kinds = {name: getattr(self, name) for name in KINDS}
        return {name: octets for name, octets in kinds.items() if octets is not None}

    @property
    def digest(self) -> bytes:
        """Of what it is now."""
        return _digest(self.octets)

    @property
    def is_damaged(self) -> bool:
        """Whether it is not what was stored."""
        return self.digest != self.sha256


@dataclass(frozen=True, slots=True)
class Summed:
    """How many batches were summed, and which one could not be: it is not what was stored."""

    batches: int = 0
    damaged: int | None = None


@dataclass(frozen=True, slots=True)
class UnsummedBatches:
    """Batches that no sum holds yet, and when the oldest of them was stored."""

    batches: int
    stored_at: datetime | None


async def insert_sums(connection: Connection, sums: EncodedSums, *, batch_seq: int) -> None:
    """Keep what a batch adds to windows under its number."""
    await SUMS["insert_sums"].run(connection, batch_seq=batch_seq, **asdict(sums))


async def count_unsummed(connection: Connection) -> UnsummedBatches:
    """How far the sums are behind."""
    (unsummed,) = await SUMS["count_unsummed"].values(connection, UnsummedBatches)
    return unsummed


async def find_damaged_sums(connection: Connection) -> list[PendingSum]:
    """What waits to be summed and is not what was stored."""
    pending = await SUMS["list_pending"].values(connection, PendingSum)
    return [batch for batch in pending if batch.is_damaged]


async def sum_pending(connection: Connection) -> Summed:
    """Sum closed batches in a transaction of its own, up to the first that is damaged."""
    summed = Summed()
    async with connection.transaction():
        closed = await SUMS["begin_sums"].value(connection)
        for _ in range(STEPS if closed is not None else 0):
            step = await _sum_some(connection, closed)
            summed = Summed(summed.batches + step.batches, step.damaged)
            if not step.batches or step.damaged is not None:
                break
    return summed


async def _sum_some(connection: Connection, closed: int) -> Summed:
    chosen = deque(await SUMS["choose_sums"].values(connection, PendingSum, closed=closed))
    damaged = min((batch.batch_seq for batch in chosen if batch.is_damaged), default=None)
    while damaged is not None and chosen and chosen[-1].batch_seq >= damaged:
        chosen.pop()
    batch_seqs = [batch.batch_seq for batch in chosen]
    if batch_seqs:
        await _sum(connection, chosen)
        await SUMS["delete_sums"].run(connection, batch_seqs=batch_seqs)
    return Summed(len(batch_seqs), damaged)


async def _sum(connection: Connection, chosen: deque[PendingSum]) -> None:
    added = await asyncio.to_thread(_read, chosen)
    # One kind after the other, and its rows some at a time: of many customers each is large.
    for name, kind in KINDS.items():
        await _copy(connection, kind, _merge(name, kind, added))


async def _copy(connection: Connection, kind: SumKind, parts: Iterator[pl.DataFrame]) -> None:
    def encoded() -> Rows | None:
        part = next((part for part in parts if part.height), None)
        return None if part is None else kind.encode(part)

    while (rows := await asyncio.to_thread(encoded)) is not None:
        await copy_binary(connection, kind.table, rows)


def _read(chosen: deque[PendingSum]) -> Added:
    """What batches add, by kind; what they are stored as is let go as it is read."""
    added: dict[str, list[pl.DataFrame]] = {name: [] for name in KINDS}
    while chosen:
        batch = chosen.popleft()
        for name, octets in batch.octets.items():
            added[name].append(_placed(batch, pl.read_ipc(BytesIO(octets))))
    return added


def _merge(name: str, kind: SumKind, added: Added) -> Iterator[pl.DataFrame]:
    """What batches add of a kind, merged, some rows at a time; nothing where that is nothing."""
    frames = [*added[name], *(_worked(added["usage"]) if name == "activity" else ())]
    columns = (*kind.columns, "batch_seq", "seen_at")
    filled = [only(frame, columns) for frame in frames if frame.height]
    if filled:
        # Each batch has its numbers as narrow as they are.
        yield from kind.merged(pl.concat(filled, how="vertical_relaxed"))


def _worked(usage: Sequence[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The activity that usage says: of what was worked on in its window."""
    output = (pl.col("visible").cast(pl.Int64) + pl.col("reasoning")).alias("output")
    for frame in usage:
        here = frame.filter(pl.col("engine_key_id").is_not_null())
        yield here.with_columns(output).select(*KINDS["activity"].columns, "batch_seq", "seen_at")


def _placed(batch: PendingSum, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(
        batch_seq=pl.lit(batch.batch_seq, pl.Int64), seen_at=pl.lit(batch.seen_at, pl.Int64)
    )


def _either(frame: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Masks of the same keys as one: a second is busy where it is in any of them."""
    seen = pl.col("seen_at").fill_null(_UNSEEN)
    columns = frame.select(*(pl.col(name).to_physical() for name in keys), seen)
    groups = grouped([column.to_numpy() for column in columns])
    masks = np.frombuffer(b"".join(frame["mask"].to_list()), np.uint8).reshape(frame.height, -1)
    either = np.bitwise_or.reduceat(masks[groups.order], groups.begins, axis=0)
    last = np.maximum.reduceat(frame["batch_seq"].to_numpy()[groups.order], groups.begins)
    return frame[groups.leads].select(
        *keys,
        pl.Series("batch_seq", last),
        pl.Series("mask", list(map(bytes, either)), pl.Binary),
    )


def _encode(kind: SumKind, frame: pl.DataFrame) -> bytes:
    octets = BytesIO()
    narrow = with_series(frame, *(frame[name].shrink_dtype() for name in kind.counts))
    narrow.select(*kind.columns, *kind.beside).write_ipc(octets, compression="zstd")
    return octets.getvalue()


def _digest(octets: Mapping[str, bytes]) -> bytes:
    return sha256(b"".join(octets[name] for name in KINDS if name in octets)).digest()


def _reach(frame: pl.DataFrame, names: Sequence[str]) -> int:
    columns = [frame[name].to_numpy() for name in names] if frame.height else []
    # In Python's integers, because the least of 64 bits has no positive of its own there.
    most = max((max(int(each.max()), -int(each.min())) for each in columns), default=0)
    # Output is two counts, and all rows may have the same keys.
    return 2 * most * frame.height
