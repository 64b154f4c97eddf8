"""Merges facts of a day into large chunks, by customer and time; each fact is merged once."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from hashlib import sha256

import polars as pl

from ledger.domain.errors import ConflictError
from ledger.domain.metering.fact import Kind
from ledger.store.metering.chunks import (
    ChunkOctets,
    ChunkSearch,
    fetch_chunk,
    find_chunks,
    parquet_of,
)
from ledger.store.metering.fact_columns import SCHEMA
from ledger.store.metering.retention import find_key_customers, read_rows
from ledger.store.queries import Connection, load_queries

MERGING = load_queries("metering/merging")
# The customer of facts whose customer nobody knows.
NOBODY = ""


@dataclass(frozen=True, slots=True)
class DayToMerge:
    """A day with facts that are not merged, and about how many."""

    stored_day: date
    facts: int


@dataclass(frozen=True, slots=True)
class UnmergedDays:
    """Days of which not all facts are merged, and the first of them."""

    days: int
    first_day: date | None


@dataclass(frozen=True, slots=True)
class MergedDay:
    """A day of merged facts, up to which batch, and how many of them came as rows."""

    stored_day: date
    last_batch_seq: int
    rows: int


@dataclass(frozen=True, slots=True)
class MergedChunk:
    """Facts of a day by customer and time, encoded, and what their row says of them."""

    stored_day: date
    first_batch_seq: int
    last_batch_seq: int
    rows: int
    first_customer: str
    last_customer: str
    first_time: datetime
    last_time: datetime
    source_ids: Sequence[int]
    last_batch_seqs: Sequence[int]
    last_times: Sequence[datetime]
    suspended: int
    sha256: bytes
    facts: bytes

    @classmethod
    def of(cls, facts: pl.DataFrame, *, stored_day: date) -> "MergedChunk":
        """Encode facts of every column and `customer_id`, in order; at least one.

        ConflictError where they do not read back as they were written.
        """
        octets = pl.col("end_user").str.replace_all("-", "").str.decode("hex")
        said = parquet_of(facts.with_columns(octets))
        digest = sha256(said).digest()
        if not ChunkOctets(stored_day, 0, None, digest, said).read().equals(facts.select(*SCHEMA)):
            raise ConflictError(
                f"Facts of {stored_day} do not read back as they were merged.",
                "They stay as they are. Is the memory of this host sound?",
            )
        seq, time = pl.col("batch_seq"), pl.col("time")
        customer = pl.col("customer_id").fill_null(NOBODY)
        bounds = facts.select(
            first_batch_seq=seq.min(),
            last_batch_seq=seq.max(),
            first_customer=customer.first(),
            last_customer=customer.last(),
            first_time=time.min(),
            last_time=time.max(),
        ).row(0, named=True)
        stood = facts.filter(pl.col("kind") != int(Kind.REVERSAL))
        newest = time.filter(seq == seq.max()).max()
        last = facts.group_by("source_id").agg(seq.max(), newest).sort("source_id")
        return cls(
            stored_day=stored_day,
            rows=facts.height,
            source_ids=last["source_id"].to_list(),
            last_batch_seqs=last["batch_seq"].to_list(),
            last_times=last["time"].to_list(),
            suspended=stood["customer_id"].null_count(),
            sha256=digest,
            facts=said,
            **bounds,
        )


async def find_days_to_merge(
    connection: Connection, *, until_seq: int, most: int
) -> list[DayToMerge]:
    """Days with facts up to a batch that are not merged; of rows `most` are counted."""
    return await MERGING["find_days_to_merge"].values(
        connection, DayToMerge, until_seq=until_seq, most=most
    )


async def count_unmerged_days(connection: Connection, *, before: date) -> UnmergedDays:
    """Days before one of which not all facts are merged."""
    (unmerged,) = await MERGING["count_unmerged_days"].values(
        connection, UnmergedDays, before=before
    )
    return unmerged


async def list_merged_days(
    connection: Connection, *, since_day: date = date.min, until_day: date = date.max
) -> list[MergedDay]:
    """Days of which facts are merged, from one day to another."""
    return await MERGING["list_merged_days"].values(
        connection, MergedDay, since_day=since_day, until_day=until_day
    )


async def read_unmerged(
    connection: Connection, day: date, *, until_seq: int, size: int
) -> AsyncIterator[pl.DataFrame]:
    """Facts of a day up to a batch that are not merged, every column; rows `size` at a time.

    Needs a transaction; DamagedChunkError where a chunk is not what was stored.
    """
    async for rows in read_rows(connection, day, until_seq=until_seq, size=size):
        yield rows
    search = ChunkSearch(since_day=day, until_day=day, until_seq=until_seq)
    for chunk in await find_chunks(connection, search):
        octets = await fetch_chunk(connection, chunk) if chunk.part is None else None
        if octets is not None:
            yield await asyncio.to_thread(octets.read)


async def find_last_part(connection: Connection, day: date) -> int:
    """The last merged chunk of a day, 0 before the first."""
    return int(await MERGING["find_last_part"].value(connection, day=day))


async def order_facts(connection: Connection, frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Facts by customer and time, with `customer_id`; None is nobody known, and comes first."""
    facts = pl.concat(frames)
    keys = facts["usage_key_id"].unique().to_list()
    customers = await find_key_customers(connection, keys)
    owner = pl.col("usage_key_id").replace_strict(customers, return_dtype=pl.String)
    return facts.with_columns(customer_id=owner).sort(
        "customer_id", "time", "batch_seq", "ordinal", nulls_last=False
    )


async def insert_merged_chunk(connection: Connection, chunk: MergedChunk, *, part: int) -> None:
    """Store merged facts; `finish_merge` takes them from where they were."""
    await MERGING["insert_merged_chunk"].run(connection, part=part, **asdict(chunk))


async def finish_merge(
    connection: Connection, day: date, *, until_seq: int, since_part: int
) -> int:
    """Leave facts of a day up to a batch in merged chunks alone; returns how many.

    RestrictViolationError where these have not as many.
    """
    return int(
        await MERGING["finish_merge"].value(
            connection, day=day, until_seq=until_seq, since_part=since_part
        )
    )
