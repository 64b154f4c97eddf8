"""Checks the chain: every link, and every sealed stretch of rows against what is stored now."""

import asyncio
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from ledger.domain.errors import LedgerError
from ledger.domain.seal import (
    BatchDigest,
    Seal,
    SealPart,
    Tampering,
    broken_links,
    first_rows,
    slices,
    summed,
    unlike_head,
    unlike_parts,
)
from ledger.store import seal as store
from ledger.store.metering.check import one_snapshot
from ledger.store.metering.merging import MergedDay, list_merged_days
from ledger.store.metering.reading_columns import MOMENTS
from ledger.store.metering.readings import read_readings, strange_rows
from ledger.store.metering.retention import EXTRA_TABLE, ArchivedDay, list_archived
from ledger.store.queries import Connection
from ledger.store.seal import ARCHIVED, LOWEST, MERGED, SLICE_ROWS, TABLES, Stretch

Progress = Callable[[int], None]
Parts = Mapping[int, Sequence[SealPart]]
Stored = dict[date | None, tuple[int, bytes]]
# Tables whose days move to files together; what is merged is no row of the first any more.
ROWS = "usage_fact"
FACTS = (ROWS, "usage_chunk", MERGED)
KEPT_PAGE = 10_000
TableAndDay = tuple[str, date]
Archived = Mapping[TableAndDay, ArchivedDay]


@dataclass(frozen=True, slots=True)
class SealReport:
    """The head of the chain (None before the first seal), rows it vouches for, and what differs."""

    head: str | None
    seals: int
    rows: int
    differences: Sequence[Tampering]


@dataclass(slots=True)
class _Run:
    """Neighbouring seals of one table that are digested alike, and the batches found of it."""

    seals: Sequence[Seal]
    edges: Sequence[int]
    whole: Stretch
    batches: list[BatchDigest] = field(default_factory=list)


def no_progress(rows: int, /) -> None:
    """Tell nobody."""


async def check_seals(
    connections: Sequence[Connection],
    *,
    head: str | None = None,
    progress: Progress = no_progress,
    slice_rows: int = SLICE_ROWS,
) -> SealReport:
    """Everything sealed, over all connections at once; `head` is one that was kept elsewhere.

    InvalidInputError where `head` is none.
    """
    async with one_snapshot(connections):
        for connection in connections:
            await store.prefer_indexes(connection)
        lead = connections[0]
        seals = await store.list_seals(lead)
        parts = await store.list_parts(lead)
        archived = {
            (table, day.day.stored_day): day
            for table in (ROWS, EXTRA_TABLE, *MOMENTS)
            for day in await list_archived(lead, table=table)
        }
        tampered = broken_links(seals, parts) + (unlike_head(seals, head) if head else [])
        merged = {day.stored_day: day for day in await list_merged_days(lead)}
        filed, kept = _apart(seals, parts, archived)
        tampered += _unlike_files(filed, archived)
        tampered += await _unlike_archived(lead, parts)
        tampered += await _unlike_merged_chunks(lead, kept)
        taken, kept = _take_merged(seals, kept, merged)
        tampered += _unlike_merged(taken, merged)
        runs = [run async for run in _runs(lead, seals, kept)]
        await _digest_all(connections, runs, slice_rows, progress)
        tampered += [tampering for run in runs for tampering in _compare(run, kept, archived)]
        tampered += await _unlike_kept(lead, archived)
    rows = sum(part.rows for each in parts.values() for part in each)
    return SealReport(seals[-1].head if seals else None, len(seals), rows, tampered)


async def check_sealed_day(
    connection: Connection, day: date, of: Sequence[str] = FACTS
) -> list[Tampering]:
    """What differs of a day that is still in the database, of facts or other tables."""
    seals, parts = await store.list_seals(connection), await store.list_parts(connection)
    own = {
        number: [p for p in each if p.table in of and p.stored_day == day]
        for number, each in parts.items()
    }
    known = await list_merged_days(connection, since_day=day, until_day=day) if ROWS in of else []
    merged = {each.stored_day: each for each in known}
    tampered = await _unlike_merged_chunks(connection, own, (day, day))
    taken, own = _take_merged(seals, own, merged)
    tampered += _unlike_merged(taken, merged)
    touched = [n for n, seal in enumerate(seals) if own.get(seal.seal_no)]
    if not touched:
        return tampered
    since = seals[touched[0] - 1].until_seq if touched[0] else LOWEST
    some = seals[touched[0] : touched[-1] + 1]
    tables = [table for table in of if table in TABLES]
    runs = [run async for run in _runs(connection, some, own, tables, since)]
    for run in runs:
        run.whole = replace(run.whole, day=day)
    await _digest_all([connection], runs, SLICE_ROWS, no_progress)
    return tampered + [tampering for run in runs for tampering in _compare(run, own, {})]


def _is_filed(archived: Archived, table: str, day: date | None, since: int) -> ArchivedDay | None:
    """The file of rows that were sealed behind a batch, or None where they are in the database."""
    of = ROWS if table in FACTS else table
    file = archived.get((of, day)) if day else None
    return file if file and since < (file.day.last_batch_seq or 0) else None


def _apart(
    seals: Sequence[Seal], parts: Parts, archived: Archived
) -> tuple[dict[TableAndDay, int], dict[int, list[SealPart]]]:
    """Rows by day that are in files now, whose digest vouches for them, and parts that are not."""
    filed: dict[TableAndDay, int] = defaultdict(int)
    kept: dict[int, list[SealPart]] = defaultdict(list)
    since = 0
    for seal in seals:
        for part in parts.get(seal.seal_no, ()):
            if part.table == MERGED and (ROWS, part.stored_day) in archived:
                continue
            file = _is_filed(archived, part.table, part.stored_day, since)
            if file is not None:
                filed[file.table, file.day.stored_day] += part.rows
            elif part.table != ARCHIVED:
                kept[seal.seal_no].append(part)
        since = seal.until_seq
    return filed, kept


def _take_merged(
    seals: Sequence[Seal], parts: Parts, merged: Mapping[date, MergedDay]
) -> tuple[dict[date, int], dict[int, list[SealPart]]]:
    """Rows by day that are merged now, for which their merged chunks vouch, and parts that are to
    be there as they were."""
    taken: dict[date, int] = defaultdict(int)
    kept: dict[int, list[SealPart]] = defaultdict(list)
    since = 0
    for seal in seals:
        for part in parts.get(seal.seal_no, ()):
            day = merged.get(part.stored_day) if part.stored_day else None
            if part.table == ROWS and day and since < day.last_batch_seq:
                taken[day.stored_day] += part.rows
            elif part.table != MERGED:
                kept[seal.seal_no].append(part)
        since = seal.until_seq
    return taken, kept


def _unlike_merged(taken: Mapping[date, int], merged: Mapping[date, MergedDay]) -> list[Tampering]:
    return [
        Tampering(MERGED, f"facts of {day}", "rows", str(taken.get(day, 0)), str(now.rows))
        for day, now in merged.items()
        if taken.get(day, 0) != now.rows
    ]


async def _unlike_merged_chunks(
    connection: Connection, parts: Parts, days: tuple[date, date] = (date.min, date.max)
) -> list[Tampering]:
    sealed = [(n, part) for n, each in parts.items() for part in each if part.table == MERGED]
    tampered = []
    for columns in sorted({part.columns for _, part in sealed}):
        stored = await store.digest_merged(connection, columns, days)
        for number, part in sealed:
            if part.columns == columns and part.stored_day is not None:
                now = first_rows(stored.get(part.stored_day, ()), part.rows)
                tampered += unlike_parts(
                    MERGED, f"seal {number}", {part.stored_day: part}, {part.stored_day: now}
                )
    return tampered


def _unlike_files(filed: Mapping[TableAndDay, int], archived: Archived) -> list[Tampering]:
    return [
        Tampering(key[0], f"file of {key[1]}", "rows", str(rows), str(archived[key].day.rows))
        for key, rows in filed.items()
        if rows != archived[key].day.rows
    ]


async def _unlike_kept(connection: Connection, archived: Archived) -> list[Tampering]:
    """Files of readings and extras that are away or changed, and rows that stayed but are not in
    them."""
    tampered = []
    for (table, day), file in archived.items():
        if table == ROWS:
            continue
        # Of extras nothing stays.
        pages = read_readings(connection, table, day, size=KEPT_PAGE) if table in MOMENTS else None
        kept = [page async for page in pages] if pages else []
        try:
            strange = await asyncio.to_thread(strange_rows, kept, file)
        except LedgerError as error:
            tampered.append(Tampering(table, f"file of {day}", "file", str(file.path), str(error)))
            continue
        if strange:
            where = f"rows of {day} beside its file"
            tampered.append(Tampering(table, where, "rows", "0", str(strange)))
    return tampered


async def _unlike_archived(connection: Connection, parts: Parts) -> list[Tampering]:
    tampered = []
    sealed = [part for each in parts.values() for part in each if part.table == ARCHIVED]
    for columns in sorted({part.columns for part in sealed}):
        stored = await store.digest_archived(connection, columns)
        for part in sealed:
            if part.columns == columns and part.stored_day is not None:
                digests = stored.get(part.stored_day, [])
                now: Stored = {part.stored_day: first_rows(digests, part.rows)} if digests else {}
                tampered += unlike_parts(ARCHIVED, "row", {part.stored_day: part}, now)
    return tampered


async def _runs(
    connection: Connection,
    seals: Sequence[Seal],
    parts: Parts,
    tables: Iterable[str] = TABLES,
    first: int = LOWEST,
) -> AsyncIterator[_Run]:
    for name in tables:
        now = await store.list_columns(connection, name)
        since = first
        for columns, run in _alike(name, seals, parts):
            by_cut_off = TABLES[name].by_cut_off
            edges = [seal.until_cut_off_id if by_cut_off else seal.until_seq for seal in run]
            yield _Run(run, edges, Stretch(name, columns or now, since, edges[-1]))
            since = edges[-1]


def _alike(
    table: str, seals: Sequence[Seal], parts: Parts
) -> Iterator[tuple[str | None, list[Seal]]]:
    """Neighbouring seals whose digests are of the same columns; one without rows is of any."""
    run: list[Seal] = []
    said: str | None = None
    for seal in seals:
        own = [part.columns for part in parts.get(seal.seal_no, ()) if part.table == table]
        if own and said is not None and own[0] != said:
            yield said, run
            run, said = [], None
        run.append(seal)
        said = own[0] if own else said
    if run:
        yield said, run


async def _digest_all(
    connections: Sequence[Connection], runs: Sequence[_Run], most: int, progress: Progress
) -> None:
    tasks: deque[tuple[_Run, Stretch]] = deque()
    for run in runs:
        counts = await store.count_batches(connections[0], run.whole)
        for since, until in slices(counts, run.whole.since, run.whole.until, most):
            tasks.append((run, replace(run.whole, since=since, until=until)))

    async def take(connection: Connection) -> None:
        while tasks:
            run, stretch = tasks.popleft()
            batches = await store.digest_batches(connection, stretch)
            run.batches += batches
            progress(sum(batch.rows for batch in batches))

    try:
        async with asyncio.TaskGroup() as group:
            for connection in connections:
                group.create_task(take(connection))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed


def _compare(run: _Run, parts: Parts, archived: Archived) -> list[Tampering]:
    stored: dict[int, list[BatchDigest]] = defaultdict(list)
    for batch in run.batches:
        stored[bisect_left(run.edges, batch.number)].append(batch)
    name, since = run.whole.table, run.whole.since
    unit = "cut-offs" if TABLES[name].by_cut_off else "batches"
    tampered = []
    for n, (seal, edge) in enumerate(zip(run.seals, run.edges, strict=True)):
        sealed = {p.stored_day: p for p in parts.get(seal.seal_no, ()) if p.table == name}
        first = "the first" if since == LOWEST else str(since + 1)
        stretch = f"seal {seal.seal_no}, {unit} {first} to {edge}"
        now = {
            day: rows
            for day, rows in summed(stored.get(n, ())).items()
            if name not in MOMENTS or _is_filed(archived, name, day, since) is None
        }
        tampered += unlike_parts(name, stretch, sealed, now)
        since = edge
    return tampered
