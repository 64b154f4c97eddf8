"""Moves facts and readings of finished days to files: written, read back, and only then dropped.

A day goes in one transaction, with its extras, after its files are whole: killed anywhere, the day
is in the database or in the files that the database names, and running again ends the same.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from ledger.store import stage_runs
from ledger.store.metering import readings
from ledger.store.metering.archive_files import day_path, write_day, write_manifest
from ledger.store.metering.archive_location import Location
from ledger.store.metering.extras import close_extras, drop_archived_extras, read_extras
from ledger.store.metering.reading_columns import MOMENTS
from ledger.store.metering.retention import (
    EXTRA_TABLE,
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
    """Days of facts and readings that are in files now, and days that stay; `described` has the
    Iceberg metadata of each table of which there are any, where it was asked for."""

    archived: Sequence[ArchivedDay]
    kept: Sequence[KeptDay]
    described: Mapping[str, Location] = field(default_factory=dict)


def no_progress(rows: int, /) -> None:
    """Tell nobody."""


async def archive(
    connection: Connection,
    *,
    before: date,
    today: date,
    folder: Location,
    iceberg: bool = False,
    progress: Progress = no_progress,
) -> ArchiveReport:
    """Move facts and readings of every day before `before`, oldest first, after another run is
    done; `iceberg` also describes all that lies in `folder`.

    InvalidInputError where `before` is in the future, `folder` cannot hold files or pyiceberg is
    not installed, UnavailableError where its store does not take them.
    """
    describe = _describing() if iceberg else None
    if before > today:
        raise InvalidInputError(
            f"The day {before} is not over, and only days before it that are can go.",
            f"Name {today} or an earlier day.",
            "before",
        )
    _check_folder(folder)
    async with stage_runs.running(connection, STAGE):
        done = await _archive_days(connection, before, folder, progress)
        if describe is None:
            return done
        return replace(done, described=await _describe(connection, folder, describe))


Describe = Callable[[Location, str, Sequence[ArchivedDay]], Location]


def _describing() -> Describe:
    # Loaded here, because it comes with an extra of its own.
    try:
        from ledger.store.metering.iceberg import describe_table
    except ModuleNotFoundError as error:
        raise InvalidInputError(
            f"Iceberg's metadata needs {error.name}, which is not installed.",
            "Install it: pip install 'tokenledger[iceberg]'.",
            "iceberg",
        ) from error
    return describe_table


async def _describe(
    connection: Connection, folder: Location, describe: Describe
) -> dict[str, Location]:
    here = f"{folder}/"
    described = {}
    for table in TABLES:
        archived = await list_archived(connection, table=table)
        days = [each for each in archived if each.day.rows and str(each.path).startswith(here)]
        if days:
            described[table] = await asyncio.to_thread(describe, folder, table, days)
    return described


@dataclass(frozen=True, slots=True)
class _Table:
    """How a day of a table is measured, read and dropped."""

    name: str
    close: Callable[[Connection, date], Awaitable[DayOfFacts]]
    read: Callable[..., AsyncIterator[pl.DataFrame]]
    drop: Callable[[Connection, ArchivedDay], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Days:
    """Which days of a table go, and what goes `beside` them at the same instant; `sealed` are the
    tables whose rows that are, and `waits` says why a day must stay."""

    table: _Table
    sealed: Sequence[str]
    list_days: Callable[..., Awaitable[list[date]]]
    waits: Callable[[Connection, DayOfFacts], Awaitable[str | None]]
    beside: Sequence[_Table] = ()


async def _facts_wait(connection: Connection, day: DayOfFacts) -> str | None:
    waiting = await count_waiting(connection, day.stored_day)
    return f"{waiting:,} facts wait in suspense" if waiting else None


async def _readings_wait(connection: Connection, day: DayOfFacts) -> str | None:
    allocated = await readings.find_allocated_seq(connection)
    late = allocated is not None and (day.last_batch_seq or 0) > allocated
    return "costs of its readings are not allocated yet" if late else None


def _of_readings(name: str) -> _Days:
    def list_days(connection: Connection, *, before: date) -> Awaitable[list[date]]:
        return readings.list_reading_days(connection, name, before=before)

    table = _Table(
        name,
        lambda connection, day: readings.close_readings(connection, name, day),
        lambda connection, day, *, size: readings.read_readings(connection, name, day, size=size),
        readings.drop_archived_readings,
    )
    return _Days(table, [name], list_days, _readings_wait)


EXTRAS = _Table(EXTRA_TABLE, close_extras, read_extras, drop_archived_extras)
FACTS = _Days(
    _Table(FACT_TABLE, close_day, read_day, drop_archived_day),
    (*SEALED_FACTS, EXTRA_TABLE),
    list_fact_days,
    _facts_wait,
    beside=(EXTRAS,),
)
ALL_DAYS = (FACTS, *map(_of_readings, MOMENTS))
TABLES = {table.name: table for days in ALL_DAYS for table in (days.table, *days.beside)}


async def _archive_days(
    connection: Connection, before: date, folder: Location, progress: Progress
) -> ArchiveReport:
    archived: list[ArchivedDay] = []
    kept: list[KeptDay] = []
    # What is in a file is sealed no more: the seals of its rows vouch for it from then on.
    last = await seal(connection)
    for days in ALL_DAYS:
        name = days.table.name
        known = {each.day.stored_day for each in await list_archived(connection, table=name)}
        for day in await days.list_days(connection, before=before):
            if day in known:
                reason = "it was archived before, and more facts came since"
                kept.append(KeptDay(day, reason, name))
                continue
            closed = await changing_tables(partial(days.table.close, connection, day))
            if days is not FACTS and not closed.rows:
                continue
            waits = await _why_it_stays(connection, days, closed, last)
            if waits is not None:
                kept.append(KeptDay(day, waits, name))
                continue
            archived += await _move(connection, days, closed, folder, progress)
    return ArchiveReport(archived, kept)


async def _move(
    connection: Connection, days: _Days, closed: DayOfFacts, folder: Location, progress: Progress
) -> list[ArchivedDay]:
    written = [
        await write_archive(connection, closed, folder, progress=progress, table=days.table.name)
    ]
    for table in days.beside:
        day = await changing_tables(partial(table.close, connection, closed.stored_day))
        if day.rows:
            written.append(
                await write_archive(connection, day, folder, progress=progress, table=table.name)
            )
    await drop_day(connection, *written)
    return written


async def _why_it_stays(
    connection: Connection, days: _Days, day: DayOfFacts, last: Seal | None
) -> str | None:
    waits = await days.waits(connection, day)
    if waits is not None:
        return waits
    if (day.last_batch_seq or 0) > (last.until_seq if last else 0):
        return "a batch older than its last ones is still being stored"
    if await check_sealed_day(connection, day.stored_day, days.sealed):
        what = "facts" if days is FACTS else "readings"
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


async def drop_day(connection: Connection, archived: ArchivedDay, *beside: ArchivedDay) -> None:
    """Drop a day whose file is whole, with what lies in files beside it; ConflictError where the
    database holds other rows.

    UnavailableError where there is no moment for it.
    """

    async def drop() -> None:
        async with connection.transaction():
            for each in (*beside, archived):
                await TABLES[each.table].drop(connection, each)

    try:
        await changing_tables(drop)
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
