"""Merges the facts of a day, rows and chunks of one batch, into large chunks by customer and time.

Only what is sealed is merged, once, and only as it was sealed: nobody writes there any more. A day
goes in one transaction: killed anywhere, all its facts are where they were, or merged.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import date

import asyncpg
import polars as pl

from ledger.domain.errors import ConflictError
from ledger.flows.check_seals import check_sealed_day
from ledger.flows.metering.archive import KeptDay
from ledger.flows.seal import seal
from ledger.store import stage_runs
from ledger.store.metering import merging as store
from ledger.store.metering.chunks import DamagedChunkError
from ledger.store.metering.merging import DayToMerge, MergedChunk
from ledger.store.queries import Connection
from ledger.store.seal import find_last_seal

STAGE = "merge"
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class MergeSizes:
    """Facts of a chunk, facts that are put in order at once, rows of a page, and from how many on
    the facts of a day that is not over are merged."""

    chunk: int = 32_768
    run: int = 1_000_000
    page: int = 50_000
    open_day: int = 1_000_000


USUAL_SIZES = MergeSizes()


@dataclass(frozen=True, slots=True)
class DayMerged:
    """Facts of a day that are merged now, and into how many chunks."""

    stored_day: date
    facts: int
    chunks: int


@dataclass(frozen=True, slots=True)
class MergeReport:
    """Days whose facts were merged, and days that stay as they are."""

    merged: Sequence[DayMerged]
    kept: Sequence[KeptDay]

    @property
    def facts(self) -> int:
        """Facts merged."""
        return sum(day.facts for day in self.merged)


def no_progress(facts: int, /) -> None:
    """Tell nobody."""


async def merge(
    connection: Connection,
    *,
    today: date,
    sizes: MergeSizes = USUAL_SIZES,
    progress: Progress = no_progress,
) -> MergeReport:
    """Seal, then merge what is sealed of every day before `today`, and of later ones with much of
    it; after another run is done."""
    await seal(connection)
    return await merge_sealed(connection, today=today, sizes=sizes, progress=progress)


async def merge_sealed(
    connection: Connection,
    *,
    today: date,
    sizes: MergeSizes = USUAL_SIZES,
    progress: Progress = no_progress,
) -> MergeReport:
    """`merge`, of what is sealed already."""
    merged: list[DayMerged] = []
    kept: list[KeptDay] = []
    async with stage_runs.running(connection, STAGE):
        last = await find_last_seal(connection)
        until_seq = last.until_seq if last else 0
        days = await store.find_days_to_merge(connection, until_seq=until_seq, most=sizes.open_day)
        for day in days:
            if day.stored_day >= today and day.facts < sizes.open_day:
                continue
            done = await _merge_day(connection, day, until_seq, sizes, progress)
            if isinstance(done, DayMerged):
                merged.append(done)
            else:
                kept.append(done)
    return MergeReport(merged, kept)


async def _merge_day(
    connection: Connection, day: DayToMerge, until_seq: int, sizes: MergeSizes, progress: Progress
) -> DayMerged | KeptDay:
    try:
        async with connection.transaction():
            if await check_sealed_day(connection, day.stored_day):
                return KeptDay(day.stored_day, "its facts are not those that were sealed")
            return await _merge_sealed_day(connection, day.stored_day, until_seq, sizes, progress)
    except DamagedChunkError as error:
        return KeptDay(day.stored_day, str(error))
    except asyncpg.RestrictViolationError as error:
        raise ConflictError(
            f"Something else takes facts away: {error}.", "Nothing was merged; run again."
        ) from error


async def _merge_sealed_day(
    connection: Connection, day: date, until_seq: int, sizes: MergeSizes, progress: Progress
) -> DayMerged:
    part = before = await store.find_last_part(connection, day)
    async for run in _runs(connection, day, until_seq, sizes):
        ordered = await store.order_facts(connection, run)
        for at in range(0, ordered.height, sizes.chunk):
            facts = ordered.slice(at, sizes.chunk)
            chunk = await asyncio.to_thread(MergedChunk.of, facts, stored_day=day)
            part += 1
            await store.insert_merged_chunk(connection, chunk, part=part)
            progress(facts.height)
    done = await store.finish_merge(connection, day, until_seq=until_seq, since_part=before + 1)
    return DayMerged(day, done, part - before)


async def _runs(
    connection: Connection, day: date, until_seq: int, sizes: MergeSizes
) -> AsyncIterator[Sequence[pl.DataFrame]]:
    """As many facts as are put in order at once."""
    run: list[pl.DataFrame] = []
    facts = store.read_unmerged(connection, day, until_seq=until_seq, size=sizes.page)
    async for page in facts:
        run.append(page)
        if sum(each.height for each in run) >= sizes.run:
            yield run
            run = []
    if run:
        yield run
