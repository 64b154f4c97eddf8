"""Facts wherever they are: rows and chunks of the database, or the files of archived days.

A day moves to its file only, so that who looks into the database first misses nothing.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import polars as pl

from ledger.domain.billing.invoice import InvoiceLine
from ledger.domain.billing.traced import TracedEvent
from ledger.domain.metering.times import micros
from ledger.store.billing.trace import LineRun, find_runs, trace_batches, trace_events
from ledger.store.metering.archive_files import scan_archived
from ledger.store.metering.chunks import (
    Chunk,
    ChunkSearch,
    VisibleKeys,
    find_batch_chunks,
    find_chunks,
    read_chunks,
)
from ledger.store.metering.correction import (
    FirstFact,
    fact_frame,
    find_first,
    find_row_event_ids,
    find_standing,
)
from ledger.store.metering.fact_columns import FACT_KEY, SCHEMA
from ledger.store.metering.facts import list_fact_pages
from ledger.store.metering.retention import (
    ArchivedDay,
    FateStep,
    find_fate_ids,
    find_key_customers,
    find_standing_ids,
    list_archived,
    list_source_names,
)
from ledger.store.queries import Connection

# A traced event as columns of a frame, and what else a trace goes by.
SHOWN = tuple("source_id" if each.name == "source" else each.name for each in fields(TracedEvent))
TRACED = (*SHOWN, "usage_key_id")
_SOURCE = SHOWN.index("source_id")
FEW_CHUNKS = 2


async def find_standing_facts(
    connection: Connection, keys: Sequence[tuple[int, int]]
) -> pl.DataFrame:
    """`find_standing`, with facts of chunks and archived days."""
    rows = await find_standing(connection, keys)
    if rows.height == len(keys):
        return rows
    at_hand = set(rows["n"].to_list())
    standing = await find_standing_ids(connection, keys)
    missing = [fact for fact in standing if fact[0] not in at_hand]
    wanted = pl.DataFrame(missing, schema=pl.Schema({"n": pl.Int64(), **FACT_KEY}), orient="row")
    return pl.concat([rows, fact_frame(await _read_elsewhere(connection, wanted))])


async def find_event_ids(
    connection: Connection, keys: Sequence[tuple[int, int]]
) -> dict[int, str | None]:
    """The id each fact at these (batch_seq, ordinal) places came with, by position; none where it
    said none. UnavailableError where the file of a day is not there."""
    event_ids = await find_row_event_ids(connection, keys)
    missing = [(n, *key) for n, key in enumerate(keys) if n not in event_ids]
    if missing:
        wanted = pl.DataFrame(
            missing, schema=pl.Schema({"n": pl.Int64(), **FACT_KEY}), orient="row"
        )
        event_ids |= dict(
            (await _read_elsewhere(connection, wanted)).select("n", "event_id").iter_rows()
        )
    return event_ids


async def find_first_facts(
    connection: Connection, keys: Sequence[tuple[int, int]]
) -> dict[int, FirstFact]:
    """`find_first` by position, with facts of chunks and archived days.

    UnavailableError where the file of a day is not there.
    """
    by_position = dict(enumerate(await find_first(connection, keys)))
    steps = await find_fate_ids(connection, keys)
    sought = [
        (at.n, at.batch_seq, at.ordinal, at.depth)
        for at in steps
        if _may_be_first(at, by_position[at.n])
    ]
    schema = pl.Schema({"n": pl.Int64(), **FACT_KEY, "depth": pl.Int64()})
    wanted = pl.DataFrame(sought, schema=schema, orient="row")
    facts = await _read_elsewhere(connection, wanted)
    # The one after the fewest changes has the last word.
    firsts = facts.select("n", "depth", "customer_id").sort("depth", descending=True)
    for n, depth, customer_id in firsts.iter_rows():
        by_position[n] = FirstFact(depth, customer_id, by_position[n].refused)
    return by_position


def _may_be_first(at: FateStep, known: FirstFact) -> bool:
    if known.depth is None:
        # A place of what nobody could read has no fact of its own.
        return bool(at.depth) or not known.refused
    return at.depth < known.depth


async def _read_elsewhere(connection: Connection, wanted: pl.DataFrame) -> pl.DataFrame:
    """Facts of chunks and files at `batch_seq` and `ordinal`, with all else that is said of each,
    and with its key's customer."""
    batches = wanted["batch_seq"].unique().sort().to_list()
    frames = [pl.DataFrame(schema=SCHEMA)]
    chunks = await find_batch_chunks(connection, batches)
    async for facts in read_chunks(connection, chunks):
        frames.append(facts.join(wanted, on=list(FACT_KEY), how="semi"))
    if sum(facts.height for facts in frames) < wanted.height:
        for day in await list_archived(connection, since_seq=batches[0], until_seq=batches[-1]):
            frames.append(await asyncio.to_thread(_read_day, day, wanted))
    here = pl.concat(frames).join(wanted, on=list(FACT_KEY))
    keys = here["usage_key_id"].unique().to_list()
    customers = await find_key_customers(connection, keys)
    owner = pl.col("usage_key_id").replace_strict(customers, return_dtype=pl.String)
    return here.with_columns(customer_id=owner)


def _read_day(day: ArchivedDay, wanted: pl.DataFrame) -> pl.DataFrame:
    return scan_archived(day).join(wanted.lazy(), on=list(FACT_KEY), how="semi").collect()


async def trace_line(
    connection: Connection,
    *,
    line: InvoiceLine,
    customer_id: str,
    batch_seq: int,
    subscription_id: str | None = None,
    after: tuple[int, int] = (0, -1),
    limit: int = 1_000,
) -> list[TracedEvent]:
    """`trace_events`, with facts of chunks and archived days, in stored order."""
    runs = await find_runs(
        connection,
        line=line,
        customer_id=customer_id,
        batch_seq=batch_seq,
        subscription_id=subscription_id,
    )
    if not runs:
        return []
    events = await _trace_rows(
        connection,
        line=line,
        customer_id=customer_id,
        batch_seq=batch_seq,
        runs=runs,
        after=after,
        limit=limit,
    )
    chunks = await _find_traced_chunks(
        connection, line, customer_id=customer_id, batch_seq=batch_seq, after=after
    )
    days = await list_archived(
        connection,
        since_seq=after[0],
        until_seq=batch_seq,
        since=line.key.service_start,
        until=line.key.service_end,
    )
    if not (chunks or days):
        return events
    page = _Page(runs, batch_seq, after, limit, await list_source_names(connection))
    events += await _trace_chunks(connection, page, chunks)
    for day in days:
        events += await asyncio.to_thread(page.read, scan_archived(day).filter(page.wanted))
    # A day that was dropped between two reads is in both.
    each = {event.stored_at: event for event in events}
    return [each[at] for at in sorted(each)][:limit]


@dataclass(frozen=True, slots=True)
class _Page:
    """What is asked of facts that are no rows: those of runs, of a page behind `after`."""

    runs: Sequence[LineRun]
    batch_seq: int
    after: tuple[int, int]
    limit: int
    names: Mapping[int, str]

    @property
    def wanted(self) -> pl.Expr:
        """What runs may be of, by what a reader can skip."""
        time = pl.col("time")
        return (
            pl.col("usage_key_id").is_in(sorted({run.usage_key_id for run in self.runs}))
            & (time >= _lit(min(run.since for run in self.runs)))
            & (time < _lit(max(run.until for run in self.runs)))
        )

    def read(self, facts: pl.LazyFrame) -> list[TracedEvent]:
        """The first of the page that are among some facts, in stored order."""
        traced = _of_runs(facts, self.runs, self.batch_seq, self.after)
        shown = traced.select(SHOWN).head(self.limit).collect()
        return [_traced(row, self.names) for row in shown.iter_rows()]


async def _trace_chunks(
    connection: Connection, page: _Page, chunks: Sequence[Chunk]
) -> list[TracedEvent]:
    """The events of a page in chunks, and some of the next, chunk by chunk."""
    events: list[TracedEvent] = []
    visible, wanted = VisibleKeys(), page.wanted
    for chunk in chunks:
        # Those behind a page are of another one.
        if len(events) >= page.limit and _nth(events, page.limit) < (chunk.first_batch_seq, 0):
            break
        async for facts in read_chunks(connection, [chunk], TRACED, visible, wanted):
            events += await asyncio.to_thread(page.read, facts.lazy())
    return events


async def _trace_rows(
    connection: Connection,
    *,
    line: InvoiceLine,
    customer_id: str,
    batch_seq: int,
    runs: Sequence[LineRun],
    after: tuple[int, int],
    limit: int,
) -> list[TracedEvent]:
    """`trace_events`, where any day has facts in rows at all: once merged it has none, and to plan
    what reads every day takes longer than to look."""
    if not any(day.pages for day in await list_fact_pages(connection)):
        return []
    return await trace_events(
        connection,
        line=line,
        customer_id=customer_id,
        batch_seq=batch_seq,
        runs=runs,
        after=after,
        limit=limit,
    )


async def _find_traced_chunks(
    connection: Connection,
    line: InvoiceLine,
    *,
    customer_id: str,
    batch_seq: int,
    after: tuple[int, int],
) -> list[Chunk]:
    """Chunks of the batches that its windows are made of."""
    key = line.key
    search = ChunkSearch(
        since_seq=after[0],
        until_seq=batch_seq,
        since=key.service_start,
        until=key.service_end,
        customer_id=customer_id,
    )
    chunks = await find_chunks(connection, search)
    # To read so few costs less than to ask which of them hold none.
    if len(chunks) <= FEW_CHUNKS:
        return chunks
    spans = await trace_batches(connection, line=line, customer_id=customer_id)
    ends = [last for _, last in spans]
    return [
        chunk
        for chunk in chunks
        if (n := bisect_left(ends, chunk.first_batch_seq)) < len(spans)
        and spans[n][0] <= chunk.last_batch_seq
    ]


def _nth(events: Sequence[TracedEvent], n: int) -> tuple[int, int]:
    """Where the n-th of some events in stored order is."""
    return sorted(event.stored_at for event in events)[n - 1]


def _lit(moment: datetime) -> pl.Expr:
    """A moment as a column has it; of a datetime with a zone polars makes a frame first."""
    return pl.lit(micros(moment)).cast(SCHEMA["time"])


def _of_runs(
    facts: pl.LazyFrame, runs: Sequence[LineRun], batch_seq: int, after: tuple[int, int]
) -> pl.LazyFrame:
    seq, ordinal = pl.col("batch_seq"), pl.col("ordinal")
    spans = pl.LazyFrame(
        {
            "usage_key_id": pl.Series([r.usage_key_id for r in runs], dtype=SCHEMA["usage_key_id"]),
            "since": pl.Series([micros(r.since) for r in runs]).cast(SCHEMA["time"]),
            "until": pl.Series([micros(r.until) for r in runs]).cast(SCHEMA["time"]),
        }
    )
    return (
        facts.filter(
            (seq <= batch_seq) & ((seq > after[0]) | ((seq == after[0]) & (ordinal > after[1])))
        )
        .sort("time")
        .join_asof(
            spans.sort("since"),
            left_on="time",
            right_on="since",
            by="usage_key_id",
            check_sortedness=False,
        )
        .filter(pl.col("time") < pl.col("until"))
        .sort("batch_seq", "ordinal")
    )


def _traced(row: Sequence[Any], names: Mapping[int, str]) -> TracedEvent:
    said = [*row]
    said[_SOURCE] = names.get(said[_SOURCE])
    return TracedEvent(*said)
