"""Moves facts and readings of finished days to files: written, read back, and only then dropped.

A day goes in one transaction, after its file is whole: killed anywhere, the day is in the database
or in the file that the database names, and running again ends the same.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

import asyncpg
import polars as pl

from ledger.domain.errors import ConflictError, InvalidInputError
from ledger.domain.seal import Seal
from ledger.flows.check_seals import FACTS as SEALED_FACTS
from ledger.flows.check_seals import check_sealed_day
from ledger.flows.metering.change_tables import changing_tables
from ledger.flows.seal import seal
from ledger.store.cost import cost
from ledger.store.metering import readings
from ledger.store.metering.archive_files import day_path, write_day, write_manifest
from ledger.store.metering.archive_location import Location
from ledger.store.metering.reading_columns import MOMENTS
from ledger.store.metering.retention import (
    FACT_TABLE,
    ArchivedDay,
    DayOfFacts,
    close_day,
    drop_archived_day,
    list_archived,
    list_fact_days,
    read_day,
)
from ledger.store.metering.suspense import count_waiting
from ledger.store.queries import Connection

STAGE = "archive"
PAGE = 50_000
PROBE = ".tokenledger.tmp"
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class KeptDay:
    """A day that stays in the database, and why."""

    stored_day: date
    reason: str
    table: str = FACT_TABLE


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """Days of facts and readings that are in files now, and days that stay."""

    archived: Sequence[ArchivedDay]
    kept: Sequence[KeptDay]


def no_progress(rows: int, /) -> None:
    """Tell nobody."""


async def archive(
    connection: Connection,
    *,
    before: date,
    today: date,
    folder: Location,
    progress: Progress = no_progress,
) -> ArchiveReport:
    """Move facts and readings of every day before `before`, oldest first, after another run is
    done.

    InvalidInputError where `before` is in the future or `folder` cannot hold files,
    UnavailableError where its store does not take them.
    """
    if before > today:
        raise InvalidInputError(
            f"The day {before} is not over, and only days before it that are can go.",
            f"Name {today} or an earlier day.",
            "before",
        )
    _check_folder(folder)
    async with cost.running(connection, STAGE):
        return await _archive_days(connection, before, folder, progress)


@dataclass(frozen=True, slots=True)
class _Table:
    """How days of a table are found, measured, read and dropped; `sealed` are the tables whose rows
    go with them, and `waits` says why a day must stay."""

    name: str
    sealed: Sequence[str]
    list_days: Callable[..., Awaitable[list[date]]]
    close: Callable[[Connection, date], Awaitable[DayOfFacts]]
    waits: Callable[[Connection, DayOfFacts], Awaitable[str | None]]
    read: Callable[..., AsyncIterator[pl.DataFrame]]
    drop: Callable[[Connection, ArchivedDay], Awaitable[None]]


async def _facts_wait(connection: Connection, day: DayOfFacts) -> str | None:
    waiting = await count_waiting(connection, day.stored_day)
    return f"{waiting:,} facts wait in suspense" if waiting else None


async def _readings_wait(connection: Connection, day: DayOfFacts) -> str | None:
    allocated = await readings.find_allocated_seq(connection)
    late = allocated is not None and (day.last_batch_seq or 0) > allocated
    return "costs of its readings are not allocated yet" if late else None


def _of_readings(name: str) -> _Table:
    def list_days(connection: Connection, *, before: date) -> Awaitable[list[date]]:
        return readings.list_reading_days(connection, name, before=before)

    def close(connection: Connection, day: date) -> Awaitable[DayOfFacts]:
        return readings.close_readings(connection, name, day)

    return _Table(
        name,
        [name],
        list_days,
        close,
        _readings_wait,
        lambda connection, day, *, size: readings.read_readings(connection, name, day, size=size),
        readings.drop_archived_readings,
    )


FACTS = _Table(
    FACT_TABLE,
    SEALED_FACTS,
    list_fact_days,
    close_day,
    _facts_wait,
    read_day,
    drop_archived_day,
)
TABLES = {table.name: table for table in (FACTS, *map(_of_readings, MOMENTS))}


async def _archive_days(
    connection: Connection, before: date, folder: Location, progress: Progress
) -> ArchiveReport:
    archived: list[ArchivedDay] = []
    kept: list[KeptDay] = []
    # What is in a file is sealed no more: the seals of its rows vouch for it from then on.
    last = await seal(connection)
    for table in TABLES.values():
        known = {each.day.stored_day for each in await list_archived(connection, table=table.name)}
        for day in await table.list_days(connection, before=before):
            if day in known:
                reason = "it was archived before, and more facts came since"
                kept.append(KeptDay(day, reason, table.name))
                continue
            closed = await changing_tables(partial(table.close, connection, day))
            if table is not FACTS and not closed.rows:
                continue
            waits = await _why_it_stays(connection, table, closed, last)
            if waits is not None:
                kept.append(KeptDay(day, waits, table.name))
                continue
            written = await write_archive(
                connection, closed, folder, progress=progress, table=table.name
            )
            await drop_day(connection, written)
            archived.append(written)
    return ArchiveReport(archived, kept)


async def _why_it_stays(
    connection: Connection, table: _Table, day: DayOfFacts, last: Seal | None
) -> str | None:
    waits = await table.waits(connection, day)
    if waits is not None:
        return waits
    if (day.last_batch_seq or 0) > (last.until_seq if last else 0):
        return "a batch older than its last ones is still being stored"
    if await check_sealed_day(connection, day.stored_day, table.sealed):
        what = "facts" if table is FACTS else "readings"
        return f"its {what} are not those that were sealed: see `check`"
    return None


async def write_archive(
    connection: Connection,
    day: DayOfFacts,
    folder: Location,
    *,
    progress: Progress = no_progress,
    table: str = FACT_TABLE,
) -> ArchivedDay:
    """The file of a day and its manifest; changes nothing in the database."""
    path = day_path(folder, day, table)
    with write_day(path, table) as writer:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            async for facts in TABLES[table].read(connection, day.stored_day, size=PAGE):
                await asyncio.to_thread(writer.add, facts)
                progress(facts.height)
        if writer.tally.rows != day.rows:
            raise ConflictError(
                f"The rows of {day.stored_day} were {day.rows:,} and are {writer.tally.rows:,}.",
                "Something still writes into that day; run again.",
            )
        digest = await asyncio.to_thread(writer.finish, path)
    written = ArchivedDay(day, path, digest, table)
    await asyncio.to_thread(write_manifest, written)
    return written


async def drop_day(connection: Connection, archived: ArchivedDay) -> None:
    """Drop a day whose file is whole; ConflictError where the database holds other rows.

    UnavailableError where there is no moment for it.
    """
    try:
        await changing_tables(lambda: TABLES[archived.table].drop(connection, archived))
    except asyncpg.RestrictViolationError as error:
        raise ConflictError(
            f"The file does not hold what the day holds: {error}.", "Archive the day again."
        ) from error
    except asyncpg.UniqueViolationError as error:
        raise ConflictError(
            f"Facts of {archived.day.stored_day} were archived before, and more came since.",
            "They stay in the database.",
        ) from error


def _check_folder(folder: Location) -> None:
    if not isinstance(folder, Path):
        probe = folder / PROBE
        probe.put(b"")
        probe.delete()
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PROBE).touch()
        (folder / PROBE).unlink()
    except OSError as error:
        raise InvalidInputError(
            f"Files cannot be written to {folder}: {error.strerror}.", "Name another --to.", "to"
        ) from error
