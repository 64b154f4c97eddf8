"""Sums that follow: what large batches add to windows is kept as frames, and many become rows at
once, a moment later.

Invariant: what is summed up to a batch is committed as a whole, below every cut-off drawn after it;
rows merge up to a kept cut-off and never across it.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from io import BytesIO

import polars as pl

from ledger.domain.metering.rows import ACTIVITY_DELTA_COLUMNS, USAGE_DELTA_COLUMNS
from ledger.domain.metering.spread import METERS, WORK
from ledger.store.binary import Rows
from ledger.store.copying import copy_binary
from ledger.store.queries import Connection, load_queries

SUMS = load_queries("sums")
_COUNTS = ("requests", *METERS)
_LARGEST = 2**63 - 1
_USAGE = ("usage_key_id", "window_start")
_ACTIVITY = ("engine_key_id", "window_start", "usage_key_id")
SUMMED_COLUMNS = (*USAGE_DELTA_COLUMNS, "first_batch_seq")
# How many steps one transaction takes: it keeps new cut-offs out.
STEPS = 8


@dataclass(frozen=True, slots=True)
class EncodedSums:
    """What a batch adds to windows, but for its number."""

    moves: int
    reach: int
    sha256: bytes
    usage: bytes
    activity: bytes

    @classmethod
    def of(cls, usage: pl.DataFrame, activity: pl.DataFrame) -> "EncodedSums":
        """Encode rows of usage_delta and of activity_delta, none of a window and key twice."""
        frames = [usage.select(*_USAGE, *_COUNTS), activity.select(*_ACTIVITY, *WORK)]
        octets = [_encode(frame) for frame in frames]
        reach = max(_reach(usage, _COUNTS), _reach(activity, WORK))
        moves = usage.height + activity.height
        return cls(moves, min(reach, _LARGEST), sha256(b"".join(octets)).digest(), *octets)


@dataclass(frozen=True, slots=True)
class PendingSum:
    """What a batch adds to windows, as stored; `seen_at` is the first kept cut-off that sees it."""

    batch_seq: int
    seen_at: int | None
    sha256: bytes
    usage: bytes
    activity: bytes

    @property
    def digest(self) -> bytes:
        """Of what it is now."""
        return sha256(self.usage + self.activity).digest()

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
    chosen = await SUMS["choose_sums"].values(connection, PendingSum, closed=closed)
    damaged = min((batch.batch_seq for batch in chosen if batch.is_damaged), default=None)
    whole = [batch for batch in chosen if damaged is None or batch.batch_seq < damaged]
    if whole:
        await _sum(connection, whole)
    return Summed(len(whole), damaged)


async def _sum(connection: Connection, chosen: Sequence[PendingSum]) -> None:
    usage, activity = await asyncio.to_thread(_merge, chosen)
    keys = usage["usage_key_id"].unique().to_list()
    known = await SUMS["find_customers"].rows(connection, usage_key_ids=keys)
    customers = pl.DataFrame(
        [tuple(row) for row in known],
        schema={"usage_key_id": pl.Int64, "customer_id": pl.String},
        orient="row",
    )
    usage = usage.join(customers, on="usage_key_id", how="left").sort(
        "customer_id", "window_start", "usage_key_id"
    )
    await copy_binary(connection, "usage_delta", Rows.of(usage, SUMMED_COLUMNS))
    if activity.height:
        table = Rows.of(activity, ACTIVITY_DELTA_COLUMNS)
        await copy_binary(connection, "activity_delta", table)
    await SUMS["delete_sums"].run(connection, batch_seqs=[batch.batch_seq for batch in chosen])


def _merge(chosen: Sequence[PendingSum]) -> tuple[pl.DataFrame, pl.DataFrame]:
    numbers = [(batch.batch_seq, batch.seen_at) for batch in chosen]
    usage = _sums([_decode(batch.usage) for batch in chosen], numbers, _USAGE, _COUNTS)
    activity = _sums([_decode(batch.activity) for batch in chosen], numbers, _ACTIVITY, WORK)
    moved = pl.any_horizontal(pl.col(name) != 0 for name in WORK)
    return usage, activity.filter(moved).sort("window_start", "engine_key_id", "usage_key_id")


def _sums(
    frames: Sequence[pl.DataFrame],
    numbers: Sequence[tuple[int, int | None]],
    keys: Sequence[str],
    counts: Sequence[str],
) -> pl.DataFrame:
    placed = [
        frame.with_columns(batch_seq=pl.lit(batch_seq, pl.Int64), seen_at=pl.lit(seen_at, pl.Int64))
        for frame, (batch_seq, seen_at) in zip(frames, numbers, strict=True)
    ]
    return (
        pl.concat(placed)
        .group_by(*keys, "seen_at")
        .agg(
            *(pl.col(name).sum() for name in counts),
            pl.col("batch_seq").max(),
            pl.col("batch_seq").min().alias("first_batch_seq"),
        )
    )


def _encode(frame: pl.DataFrame) -> bytes:
    octets = BytesIO()
    frame.write_ipc(octets, compression="zstd")
    return octets.getvalue()


def _decode(octets: bytes) -> pl.DataFrame:
    return pl.read_ipc(BytesIO(octets))


def _reach(frame: pl.DataFrame, names: Sequence[str]) -> int:
    columns = [frame[name].to_numpy() for name in names] if frame.height else []
    # In Python's integers, because the least of 64 bits has no positive of its own there.
    return max((max(int(each.max()), -int(each.min())) for each in columns), default=0)
