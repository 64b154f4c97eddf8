"""Moves the facts of finished days to files: written, read back, and only then dropped.

A day goes in one transaction, after its file is whole: killed anywhere, the day is in the database
or in the file that the database names, and running again ends the same.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

import asyncpg

from ledger.domain.errors import ConflictError, InvalidInputError
from ledger.flows.check_seals import check_sealed_day
from ledger.flows.metering.change_tables import changing_tables
from ledger.flows.seal import seal
from ledger.store.cost import cost
from ledger.store.metering.archive_files import day_path, write_day, write_manifest
from ledger.store.metering.retention import (
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
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class KeptDay:
    """A day that stays in the database, and why."""

    stored_day: date
    reason: str


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """Days whose facts are in files now, and days that stay."""

    archived: Sequence[ArchivedDay]
    kept: Sequence[KeptDay]


def no_progress(rows: int, /) -> None:
    """Tell nobody."""


async def archive(
    connection: Connection,
    *,
    before: date,
    today: date,
    folder: Path,
    progress: Progress = no_progress,
) -> ArchiveReport:
    """Move the facts of every day before `before`, oldest first, after another run is done.

    InvalidInputError where `before` is in the future or `folder` cannot hold files.
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


async def _archive_days(
    connection: Connection, before: date, folder: Path, progress: Progress
) -> ArchiveReport:
    archived: list[ArchivedDay] = []
    kept: list[KeptDay] = []
    # What is in a file is sealed no more: the seals of its rows vouch for it from then on.
    last = await seal(connection)
    sealed_seq = last.until_seq if last else 0
    before_this = {archived_day.day.stored_day for archived_day in await list_archived(connection)}
    for day in await list_fact_days(connection, before=before):
        if day in before_this:
            kept.append(KeptDay(day, "it was archived before, and more facts came since"))
            continue
        closed = await changing_tables(partial(close_day, connection, day))
        waiting = await count_waiting(connection, day)
        if waiting:
            kept.append(KeptDay(day, f"{waiting:,} facts wait in suspense"))
            continue
        if (closed.last_batch_seq or 0) > sealed_seq:
            kept.append(KeptDay(day, "a batch older than its last ones is still being stored"))
            continue
        if await check_sealed_day(connection, day):
            kept.append(KeptDay(day, "its facts are not those that were sealed: see `check`"))
            continue
        written = await write_archive(connection, closed, folder, progress=progress)
        await drop_day(connection, written)
        archived.append(written)
    return ArchiveReport(archived, kept)


async def write_archive(
    connection: Connection, day: DayOfFacts, folder: Path, *, progress: Progress = no_progress
) -> ArchivedDay:
    """The file of a day and its manifest; changes nothing in the database."""
    path = day_path(folder, day)
    with write_day(path) as writer:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            async for facts in read_day(connection, day.stored_day, size=PAGE):
                await asyncio.to_thread(writer.add, facts)
                progress(facts.height)
        if writer.tally.rows != day.rows:
            raise ConflictError(
                f"The facts of {day.stored_day} were {day.rows:,} and are {writer.tally.rows:,}.",
                "Something still writes into that day; run again.",
            )
        digest = await asyncio.to_thread(writer.finish, path)
    written = ArchivedDay(day, path, digest)
    await asyncio.to_thread(write_manifest, written)
    return written


async def drop_day(connection: Connection, archived: ArchivedDay) -> None:
    """Drop a day whose file is whole; ConflictError where the database holds other rows.

    UnavailableError where there is no moment for it.
    """
    try:
        await changing_tables(lambda: drop_archived_day(connection, archived))
    except asyncpg.RestrictViolationError as error:
        raise ConflictError(
            f"The file does not hold what the day holds: {error}.", "Archive the day again."
        ) from error
    except asyncpg.UniqueViolationError as error:
        raise ConflictError(
            f"Facts of {archived.day.stored_day} were archived before, and more came since.",
            "They stay in the database.",
        ) from error


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".tokenledger.tmp"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InvalidInputError(
            f"Files cannot be written to {folder}: {error.strerror}.", "Name another --to.", "to"
        ) from error
