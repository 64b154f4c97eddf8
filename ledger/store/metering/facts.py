"""The facts, wherever they lie, part by part: rows, chunks, and the files of archived days.

A part is fetched over any connection of one snapshot, and decoded beside whatever else goes on.
Every frame has its columns, of FACT_LAYOUT, as Int64, times in microseconds.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from io import BytesIO
from typing import TypeVar

import polars as pl

from ledger.domain.metering.spread import METERS
from ledger.domain.metering.times import micros
from ledger.store.binary_read import INT2, INT4, INT8, NEVER, TIME, read_columns
from ledger.store.copying import copy_out
from ledger.store.metering.archive_files import scan_archived
from ledger.store.metering.chunks import (
    EVER_SINCE,
    FOR_EVER,
    Chunk,
    ChunkOctets,
    ChunkSearch,
    DamagedChunkError,
    VisibleKeys,
    count_chunk_facts,
    fetch_chunk,
    find_chunks,
    scan_together,
)
from ledger.store.metering.retention import ArchivedDay, list_archived
from ledger.store.queries import Connection, load_queries

FACTS = load_queries("metering/facts")
FACT_LAYOUT = {
    **dict.fromkeys(("usage_key_id", "engine_key_id"), INT8),
    **dict.fromkeys(("time", "started_at", "first_token_at", "ended_at"), TIME),
    **dict.fromkeys(("queue_ms", "requests", *METERS), INT8),
    "kind": INT2,
    "flags": INT4,
}
_TIMES = tuple(name for name, kind in FACT_LAYOUT.items() if kind == TIME)
_UNSURE_TIMES = _TIMES[1:]
Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)
Decode = Callable[[], pl.DataFrame]


@dataclass(frozen=True, slots=True)
class FactReader:
    """What fetches a part of the facts, of about so many rows, and gives what decodes it."""

    rows: int
    fetch: Callable[[Connection], Awaitable[Decode]]

    async def __call__(self, connection: Connection) -> Decode:
        """Fetch it; DamagedChunkError, here or as it is decoded, where it is not what was
        stored."""
        return await self.fetch(connection)


@dataclass(frozen=True, slots=True)
class FactSearch:
    """Facts up to a batch, stored from a day on, of times in [since, until), with some columns of
    FACT_LAYOUT: `time` is one of them."""

    until_seq: int
    since_day: date = date.min
    since: datetime = EVER_SINCE
    until: datetime = FOR_EVER
    columns: Sequence[str] = tuple(FACT_LAYOUT)

    @property
    def ever(self) -> bool:
        """Whether facts of all times are meant."""
        return (self.since, self.until) == (EVER_SINCE, FOR_EVER)

    def of(self, facts: Frame) -> Frame:
        """Those of a frame with times that are meant, but for their batch."""
        if self.ever:
            return facts
        time = pl.col("time")
        return facts.filter((time >= micros(self.since)) & (time < micros(self.until)))


@dataclass(frozen=True, slots=True)
class PartSizes:
    """How much of a day is read at once: pages of rows, and rows of a file."""

    pages: int = 4_096
    rows: int = 250_000


USUAL_SIZES = PartSizes()


@dataclass(frozen=True, slots=True)
class FactPages:
    """A day's partition: how large it is, and its rows as last counted, or None."""

    stored_day: date
    pages: int
    rows: int | None


@dataclass(frozen=True, slots=True)
class _WholeChunk:
    """A fetched chunk of which all facts are meant, and whoever asks may see them."""

    octets: ChunkOctets
    columns: tuple[str, ...]

    def __call__(self) -> pl.DataFrame:
        return _whole(self.octets.read(self.columns))


def decode_all(decodes: Sequence[Decode]) -> tuple[list[pl.DataFrame], list[DamagedChunkError]]:
    """Facts of parts that were fetched, and what of them is not what was stored.

    Whole chunks in one plan: a plan for each small one takes as long as some of its columns.
    """
    frames: list[pl.DataFrame] = []
    damaged: list[DamagedChunkError] = []
    together: dict[tuple[bool, tuple[str, ...]], list[BytesIO]] = defaultdict(list)
    for decode in decodes:
        try:
            if isinstance(decode, _WholeChunk):
                chunk = decode.octets
                together[chunk.part is not None, decode.columns].append(chunk.verified())
            else:
                frames.append(decode())
        except DamagedChunkError as error:
            damaged.append(error)
    for (merged, columns), chunks in together.items():
        whole = scan_together(chunks, merged=merged).select(_as_whole(columns))
        frames.append(whole.collect())
    return frames, damaged


async def list_fact_readers(
    connection: Connection, search: FactSearch, sizes: PartSizes = USUAL_SIZES
) -> list[FactReader]:
    """Wherever facts of a search may be, each part by what reads it, of keys that are seen."""
    archived = await list_archived(
        connection, until_seq=search.until_seq, since=search.since, until=search.until
    )
    chunks = await find_chunks(
        connection,
        ChunkSearch(
            since_day=search.since_day,
            until_seq=search.until_seq,
            since=search.since,
            until=search.until,
        ),
    )
    visible = VisibleKeys()
    partitions = await list_fact_pages(connection)
    return [
        *(
            _archived_part(day, first, sizes.rows, search)
            for day in archived
            if day.day.stored_day >= search.since_day
            for first in range(0, day.day.rows, sizes.rows)
        ),
        *(_chunk_part(chunk, search, visible) for chunk in chunks),
        *(
            _row_part(day.stored_day, page, sizes, search)
            for day in partitions
            if day.stored_day >= search.since_day
            for page in range(0, day.pages, sizes.pages)
        ),
    ]


async def list_fact_pages(connection: Connection) -> list[FactPages]:
    """The partitions of facts in rows, by day."""
    return await FACTS["list_fact_pages"].values(connection, FactPages)


async def count_facts(connection: Connection) -> int | None:
    """About how many facts there are; None where the catalogue does not know of all rows."""
    pages = [day for day in await list_fact_pages(connection) if day.pages]
    if any(day.rows is None for day in pages):
        return None
    archived = await list_archived(connection)
    elsewhere = await count_chunk_facts(connection) + sum(each.day.rows for each in archived)
    return sum(day.rows or 0 for day in pages) + elsewhere


def _row_part(day: date, first_page: int, sizes: PartSizes, search: FactSearch) -> FactReader:
    end_page = first_page + sizes.pages
    bounds = {"stored_day": day, "first_place": (first_page, 0), "end_place": (end_page, 0)}

    async def fetch(connection: Connection) -> Decode:
        octets = await copy_out(
            connection,
            FACTS["read_facts"],
            batch_seq=search.until_seq,
            since=search.since,
            until=search.until,
            **bounds,
        )
        return lambda: _rows_of(octets).select(search.columns)

    return FactReader(sizes.rows, fetch)


def _rows_of(octets: bytes) -> pl.DataFrame:
    return pl.DataFrame(read_columns(octets, FACT_LAYOUT)).with_columns(
        *(pl.when(pl.col(name) != NEVER).then(name).alias(name) for name in _UNSURE_TIMES),
        queue_ms=pl.when(pl.col("queue_ms") >= 0).then("queue_ms"),
    )


def _chunk_part(chunk: Chunk, search: FactSearch, visible: VisibleKeys) -> FactReader:
    below = pl.col("batch_seq") <= search.until_seq
    wanted = None if chunk.last_batch_seq <= search.until_seq else below

    async def fetch(connection: Connection) -> Decode:
        octets = await fetch_chunk(connection, chunk)
        assert octets is not None, "parts are read in the snapshot in which they were listed"

        def decode() -> pl.DataFrame:
            return search.of(_whole(octets.read(search.columns, wanted)))

        # Whoever sees all may decode many at once.
        if not await visible.are_restricted(connection):
            all_of_it = wanted is None and search.ever
            return _WholeChunk(octets, (*search.columns,)) if all_of_it else decode
        seen = await visible.of(connection, await asyncio.to_thread(decode))
        return lambda: seen

    return FactReader(chunk.rows, fetch)


def _archived_part(archived: ArchivedDay, first: int, rows: int, search: FactSearch) -> FactReader:
    def decode() -> pl.DataFrame:
        known = scan_archived(archived).slice(first, rows)
        known = known.filter(pl.col("batch_seq") <= search.until_seq)
        return search.of(known.select(_as_whole(search.columns))).collect()

    async def fetch(connection: Connection) -> Decode:  # noqa: ARG001 - a file needs none
        return decode

    return FactReader(min(rows, archived.day.rows - first), fetch)


def _whole(facts: pl.DataFrame) -> pl.DataFrame:
    """`_as_whole` of a frame, without a plan, which of a small one would take most of the time."""
    return pl.DataFrame({column.name: column.cast(pl.Int64) for column in facts})


def _as_whole(columns: Sequence[str]) -> list[pl.Expr]:
    return [pl.col(name).cast(pl.Int64) for name in columns]
