"""Seals what lies behind a cut-off: a digest of every table's new rows, linked to the last seal.

It reads beside ingest and holds up nobody: what is still being stored lies behind no cut-off, and
is in the next seal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

from ledger.domain.seal import BatchDigest, Seal, SealPart, first_rows, link, slices, summed
from ledger.store import seal as store
from ledger.store import stage_runs
from ledger.store.connect import draw_cut_off
from ledger.store.memory import allow_memory
from ledger.store.metering.retention import try_lock_fold
from ledger.store.queries import Connection
from ledger.store.seal import ARCHIVED, LOWEST, MERGED, SLICE_ROWS, TABLES, Stretch

STAGE = "seal"
PURPOSE = "seal"


async def seal_when_due(connection: Connection) -> Seal | None:
    """Seal where a cut-off lies beyond the last seal; None where nothing came since."""
    last = await store.find_last_seal(connection)
    if await store.find_latest_cut_off(connection) <= (last.until_seq if last else 0):
        return None
    return await seal(connection)


async def seal(connection: Connection) -> Seal | None:
    """The end of the chain once everything behind a new cut-off is in it; None where nothing is.

    A second run waits for the first. Call it outside a transaction.
    """
    async with stage_runs.running(connection, STAGE):
        cut_off = await draw_cut_off(connection, PURPOSE)
        last = await store.find_last_seal(connection)
        if cut_off.batch_seq <= (last.until_seq if last else 0):
            return last
        async with connection.transaction():
            await allow_memory(connection)
            await store.prefer_indexes(connection)
            until = cut_off.batch_seq, await _last_cut_off_id(connection, last)
            parts = await _parts(connection, last, until)
            new = link(last, until, parts)
            await store.insert_seal(connection, new, parts)
        return new


async def _last_cut_off_id(connection: Connection, last: Seal | None) -> int:
    """Cut-offs are numbered before they are seen: only while nobody draws one are all there."""
    if await try_lock_fold(connection):
        return await store.find_latest_cut_off_id(connection)
    return last.until_cut_off_id if last else 0


async def _parts(
    connection: Connection, last: Seal | None, until: tuple[int, int]
) -> list[SealPart]:
    since = (last.until_seq, last.until_cut_off_id) if last else (LOWEST, LOWEST)
    parts = []
    for name, table in TABLES.items():
        n = int(table.by_cut_off)
        if until[n] <= since[n]:
            continue
        columns = await store.list_columns(connection, name)
        whole = Stretch(name, columns, since[n], until[n])
        for day, (rows, digest) in summed(await _digest(connection, whole)).items():
            parts.append(SealPart(name, day, rows, digest, columns))
    return parts + await _archived_parts(connection) + await _merged_parts(connection)


async def _digest(connection: Connection, whole: Stretch) -> list[BatchDigest]:
    counts = await store.count_batches(connection, whole)
    digests = []
    for since, until in slices(counts, whole.since, whole.until, SLICE_ROWS):
        part = replace(whole, since=since, until=until)
        digests += await store.digest_batches(connection, part)
    return digests


async def _merged_parts(connection: Connection) -> list[SealPart]:
    """Days with chunks merged since the last seal, each with all its merged chunks."""
    columns = await store.list_columns(connection, MERGED)
    return await _grown(connection, MERGED, columns, await store.digest_merged(connection, columns))


async def _sealed(connection: Connection, table: str) -> list[SealPart]:
    """Parts of a table, those of the last seal last."""
    parts = await store.list_parts(connection)
    return [part for number in sorted(parts) for part in parts[number] if part.table == table]


async def _archived_parts(connection: Connection) -> list[SealPart]:
    """Days of which a table went to a file since the last seal, each with all that did."""
    columns = await store.list_columns(connection, ARCHIVED)
    digests = await store.digest_archived(connection, columns)
    return await _grown(connection, ARCHIVED, columns, digests)


async def _grown(
    connection: Connection, table: str, columns: str, digests: Mapping[date, Sequence[bytes]]
) -> list[SealPart]:
    """Days with more rows than were sealed."""
    sealed = {part.stored_day: part.rows for part in await _sealed(connection, table)}
    return [
        SealPart(table, day, *first_rows(of_day, len(of_day)), columns)
        for day, of_day in digests.items()
        if len(of_day) > sealed.get(day, 0)
    ]
