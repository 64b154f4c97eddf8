"""Folding of delta rows, closing of days, and days whose facts moved to files."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import polars as pl

from ledger.domain.metering.spread import METERS
from ledger.domain.seal import slices
from ledger.store.binary_read import INT2, INT4, INT8, NEVER, TIME, read_columns
from ledger.store.copying import copy_out
from ledger.store.metering.archive_location import Location, location_of
from ledger.store.metering.chunks import HIGHEST, ChunkSearch, fetch_chunk, find_chunks
from ledger.store.metering.fact_columns import SCHEMA
from ledger.store.queries import Connection, Query, load_queries

RETENTION = load_queries("metering/retention")
FACT_TABLE, EXTRA_TABLE = "usage_fact", "usage_extra"
_UNSURE_TIMES = ("started_at", "first_token_at", "ended_at")
ROW_LAYOUT = {
    **{"lane": INT2, "batch_seq": INT8, "ordinal": INT4, "kind": INT2, "flags": INT4},
    **{"source_id": INT4, "usage_key_id": INT8, "engine_key_id": INT8},
    **dict.fromkeys(("time", *_UNSURE_TIMES), TIME),
    **dict.fromkeys(("queue_ms", "requests", *METERS), INT8),
}
FOLDS = ("fold_usage", "fold_marks", "fold_extras", "fold_activity", "fold_masks")


@dataclass(frozen=True, slots=True)
class Folded:
    """Rows that went into a merge and rows that came out of it."""

    gone: int = 0
    come: int = 0

    def __add__(self, other: "Folded") -> "Folded":
        return Folded(self.gone + other.gone, self.come + other.come)


@dataclass(frozen=True, slots=True)
class LastFold:
    """Up to where the last finished fold looked, and when it ended."""

    batch_seq: int
    finished_at: datetime


async def find_last_fold(connection: Connection) -> LastFold | None:
    """The last finished fold, or None before the first."""
    return await RETENTION["find_last_fold"].first(connection, LastFold)


async def find_windows_to_fold(
    connection: Connection, *, since_seq: int, batch_seq: int
) -> list[datetime]:
    """Windows that batches of (since_seq, batch_seq] touched, oldest first."""
    rows = await RETENTION["find_windows_to_fold"].rows(
        connection, since_seq=since_seq, batch_seq=batch_seq
    )
    return [row["window_start"] for row in rows]


async def try_lock_fold(connection: Connection) -> bool:
    """Keep other folds and new cut-offs out until the transaction ends, or False at once."""
    return bool(await RETENTION["try_lock_fold"].value(connection))


async def fold_rows(
    connection: Connection, fold: str, *, windows: Sequence[datetime], batch_seq: int, most: int
) -> Folded:
    """One step of one of FOLDS over rows up to a cut-off; needs `try_lock_fold`."""
    (folded,) = await RETENTION[fold].values(
        connection, Folded, windows=windows, batch_seq=batch_seq, most=most
    )
    return folded


@dataclass(frozen=True, slots=True)
class DayOfFacts:
    """What a day of facts or readings holds: rows, and its ranges of times and of the stored
    order."""

    stored_day: date
    rows: int
    first_time: datetime | None
    last_time: datetime | None
    first_batch_seq: int | None
    last_batch_seq: int | None


@dataclass(frozen=True, slots=True)
class ArchivedDay:
    """A day of a table in a file, with the file's digest."""

    day: DayOfFacts
    path: Location
    sha256: bytes
    table: str = FACT_TABLE


async def close_days(connection: Connection, *, today: date) -> int:
    """Index and measure every day of facts before `today`; returns how many were new."""
    return int(await RETENTION["close_days"].value(connection, today=today))


async def close_day(connection: Connection, day: date) -> DayOfFacts:
    """Index and measure one day of facts, again where that was done before."""
    row = await RETENTION["close_day"].row(connection, day=day)
    assert row is not None
    return DayOfFacts(day, **dict(row))


async def list_fact_days(connection: Connection, *, before: date) -> list[date]:
    """Days before one whose facts are in the database."""
    rows = await RETENTION["list_fact_days"].rows(connection, before=before)
    return [row["stored_day"] for row in rows]


async def read_day(connection: Connection, day: date, *, size: int) -> AsyncIterator[pl.DataFrame]:
    """The facts of a day, every column: rows in stored order, `size` at a time, then chunks.

    Needs a transaction; DamagedChunkError where a chunk is not what was stored.
    """
    async for rows in read_rows(connection, day, size=size):
        yield rows
    for chunk in await find_chunks(connection, ChunkSearch(since_day=day, until_day=day)):
        octets = await fetch_chunk(connection, chunk)
        assert octets is not None, "a day that is being read is not dropped"
        yield await asyncio.to_thread(octets.read)


async def read_rows(
    connection: Connection, day: date, *, until_seq: int = HIGHEST, size: int
) -> AsyncIterator[pl.DataFrame]:
    """Facts in rows of a day up to a batch, every column, in stored order, whole batches of about
    `size` at a time."""
    counts = await RETENTION["count_rows"].rows(connection, day=day, until_seq=until_seq)
    if not counts:
        return
    batches = [(row["batch_seq"], row["rows"]) for row in counts]
    for since, until in slices(batches, 0, batches[-1][0], size):
        bounds = {"day": day, "since_seq": since, "until_seq": until}
        octets = await copy_out(connection, RETENTION["read_rows"], **bounds)
        texts = await RETENTION["read_row_texts"].row(connection, **bounds)
        assert texts is not None, "an aggregate has one row"
        yield await asyncio.to_thread(_fact_frame, octets, day, dict(texts))


def _fact_frame(
    octets: bytes, day: date, texts: Mapping[str, list[str | None] | None]
) -> pl.DataFrame:
    columns = pl.DataFrame(read_columns(octets, ROW_LAYOUT))
    known = [pl.when(pl.col(name) != NEVER).then(name).alias(name) for name in _UNSURE_TIMES]
    queued = pl.when(pl.col("queue_ms") >= 0).then("queue_ms")
    said = [
        pl.lit(None).alias(name) if values is None else pl.Series(name, values, pl.String)
        for name, values in texts.items()
    ]
    facts = columns.with_columns(*known, *said, queued, stored_day=pl.lit(day))
    # Times come as microseconds.
    return facts.select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())


async def drop_archived_day(connection: Connection, archived: ArchivedDay) -> None:
    """Drop a day that lies in a file now; RestrictViolationError where their rows differ."""
    await drop_filed(connection, RETENTION["drop_archived_day"], archived)


async def drop_filed(
    connection: Connection, query: Query, archived: ArchivedDay, **given: object
) -> None:
    """Drop what lies in a file now by a query that holds it against the rows it drops."""
    await query.value(
        connection,
        **given,
        day=archived.day.stored_day,
        path=str(archived.path),
        sha256=archived.sha256,
        rows=archived.day.rows,
        first_batch_seq=archived.day.first_batch_seq,
        last_batch_seq=archived.day.last_batch_seq,
    )


async def list_archived(
    connection: Connection,
    *,
    table: str = FACT_TABLE,
    since_seq: int | None = None,
    until_seq: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[ArchivedDay]:
    """Days in files that may hold facts of these batches, and of [since, until); None is any."""
    rows = await RETENTION["list_archived"].rows(
        connection,
        table_name=table,
        since_seq=since_seq,
        until_seq=until_seq,
        since=since,
        until=until,
    )
    return [_archived(dict(row), table) for row in rows]


async def find_standing_ids(
    connection: Connection, keys: Sequence[tuple[int, int]]
) -> list[tuple[int, int, int]]:
    """(position from 0, batch_seq, ordinal) of the fact that stands now for each place."""
    rows = await RETENTION["find_standing_ids"].rows(
        connection,
        batch_seqs=[batch_seq for batch_seq, _ in keys],
        ordinals=[ordinal for _, ordinal in keys],
    )
    return [(row["n"], row["batch_seq"], row["ordinal"]) for row in rows]


@dataclass(frozen=True, slots=True)
class FateStep:
    """Which fact stood for the n-th that was asked about (from 0) after `depth` changes of fate."""

    n: int
    batch_seq: int
    ordinal: int
    depth: int


async def find_fate_ids(connection: Connection, keys: Sequence[tuple[int, int]]) -> list[FateStep]:
    """Each fact, and all that came to stand for it."""
    return await RETENTION["find_fate_ids"].values(
        connection,
        FateStep,
        batch_seqs=[batch_seq for batch_seq, _ in keys],
        ordinals=[ordinal for _, ordinal in keys],
    )


async def find_key_customers(
    connection: Connection, usage_key_ids: Sequence[int]
) -> dict[int, str | None]:
    """Whose usage these keys are; None is nobody known."""
    rows = await RETENTION["find_key_customers"].rows(connection, usage_key_ids=usage_key_ids)
    return {row["usage_key_id"]: row["customer_id"] for row in rows}


async def list_source_names(connection: Connection) -> dict[int, str]:
    """Names of sources by id."""
    rows = await RETENTION["list_source_names"].rows(connection)
    return {row["source_id"]: row["source"] for row in rows}


def _archived(row: dict[str, Any], table: str) -> ArchivedDay:
    path, sha256 = row.pop("path"), row.pop("sha256")
    return ArchivedDay(DayOfFacts(**row), location_of(path), bytes(sha256), table)
