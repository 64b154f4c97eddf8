"""Reads what waits: usage of customers nobody knows, and items that could not be read."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import asyncpg
import polars as pl

from ledger.domain.author import Author
from ledger.domain.metering.batch_identity import BatchIdentity
from ledger.domain.metering.fact import Flag, Kind
from ledger.domain.metering.key import UsageKeyRow
from ledger.domain.metering.permission import Fields
from ledger.domain.metering.target import CorrectionTarget, target_of
from ledger.store.metering.chunks import Chunk, ChunkSearch, find_chunks, read_chunks
from ledger.store.metering.correction import fact_frame, fact_rows_frame
from ledger.store.metering.fact_columns import FACT_KEY
from ledger.store.metering.ingest import find_engine_keys
from ledger.store.operations import Suspended
from ledger.store.queries import Connection, load_queries

SUSPENSE = load_queries("metering/suspense")


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A refused item; `raw` None has expired, `target` is its place in a numbered batch.

    `items` is how many it stands for, `binding` what its sender's key was bound to, `sent_as` what
    a dead letter is sent with.
    """

    quarantine_id: int
    batch_seq: int
    ordinal: int
    source: str
    reason: str
    raw: bytes | None
    truncated: bool
    replayed: bool
    dismissed: bool
    items: int
    binding: Fields | None
    sent_as: Mapping[str, Any] | None
    target: CorrectionTarget | None


async def list_suspended_refs(connection: Connection) -> list[str]:
    """References nobody knows that have usage."""
    rows = await SUSPENSE["list_suspended_refs"].rows(connection)
    return [row["customer_ref"] for row in rows]


async def find_suspended_keys(connection: Connection, customer_ref: str) -> dict[int, UsageKeyRow]:
    """Keys of a reference nobody knew, by id."""
    keys = await SUSPENSE["find_suspended_keys"].values(
        connection, UsageKeyRow, customer_ref=customer_ref
    )
    return {key.usage_key_id: key for key in keys}


async def find_suspended_facts(
    connection: Connection, usage_key_ids: Sequence[int], *, after: tuple[int, int], most: int
) -> pl.DataFrame:
    """Facts of these keys that stand, after a (batch_seq, ordinal), with `engine_instance`."""
    rows = await _suspended_rows(connection, usage_key_ids, after=after, most=most)
    chunked = await _suspended_in_chunks(connection, usage_key_ids, after=after, most=most)
    # What was merged between two reads is in both.
    facts = pl.concat([rows, chunked]).unique(list(FACT_KEY)).sort(*FACT_KEY).head(most)
    engines = await find_engine_keys(connection, facts["engine_key_id"].unique().to_list())
    instances = {key: engine.engine_instance for key, engine in engines.items()}
    return facts.with_columns(
        pl.col("engine_key_id")
        .replace_strict(instances, return_dtype=pl.String)
        .alias("engine_instance")
    )


async def _suspended_rows(
    connection: Connection, usage_key_ids: Sequence[int], *, after: tuple[int, int], most: int
) -> pl.DataFrame:
    rows = await SUSPENSE["find_suspended_facts"].rows(
        connection,
        usage_key_ids=list(usage_key_ids),
        after_seq=after[0],
        after_ordinal=after[1],
        most=most,
    )
    return fact_rows_frame([dict(row) for row in rows])


async def _suspended_in_chunks(
    connection: Connection, usage_key_ids: Sequence[int], *, after: tuple[int, int], most: int
) -> pl.DataFrame:
    chunks = await find_chunks(connection, ChunkSearch(since_seq=after[0]))
    seq, ordinal = pl.col("batch_seq"), pl.col("ordinal")
    beyond = (seq > after[0]) | ((seq == after[0]) & (ordinal > after[1]))
    standing = fact_rows_frame([])
    for chunk in chunks:
        # Those behind a page are of another one.
        if standing.height >= most and standing["batch_seq"][-1] < chunk.first_batch_seq:
            break
        async for facts in _read_waiting(connection, [chunk], usage_key_ids):
            unknown = pl.lit(None, pl.String)
            page = facts.filter(beyond).with_columns(n=pl.lit(0), customer_id=unknown)
            standing = pl.concat([standing, fact_frame(page)]).sort(seq, ordinal).head(most)
    return standing


async def _read_waiting(
    connection: Connection, chunks: Iterable[Chunk], usage_key_ids: Sequence[int]
) -> AsyncIterator[pl.DataFrame]:
    """Facts of these keys in chunks that stand."""
    waiting = [chunk for chunk in chunks if chunk.suspended]
    wanted = pl.col("usage_key_id").is_in(list(usage_key_ids))
    stored = (pl.col("kind") != int(Kind.REVERSAL)) & (pl.col("flags") & int(Flag.SUPERSEDED) == 0)
    async for facts in read_chunks(connection, waiting):
        standing = facts.filter(wanted & stored)
        rows = await SUSPENSE["find_changed_places"].rows(
            connection, batch_seqs=standing["batch_seq"].unique().to_list()
        )
        changed = pl.DataFrame([tuple(row) for row in rows], schema=FACT_KEY, orient="row")
        yield standing.join(changed, on=list(FACT_KEY), how="anti")


async def count_waiting(connection: Connection, day: date) -> int:
    """Facts of a day that stand for a customer nobody knows."""
    counted = int(await SUSPENSE["count_waiting"].value(connection, day=day))
    chunks = await find_chunks(connection, ChunkSearch(since_day=day, until_day=day))
    rows = await SUSPENSE["find_unknown_keys"].rows(connection)
    keys = [row["usage_key_id"] for row in rows]
    async for facts in _read_waiting(connection, chunks, keys):
        counted += facts.height
    return counted


async def find_quarantined(
    connection: Connection, quarantine_ids: Sequence[int]
) -> list[Quarantined]:
    """Refused items by id."""
    rows = await SUSPENSE["find_quarantined"].rows(connection, quarantine_ids=list(quarantine_ids))
    return [
        Quarantined(
            quarantine_id=row["quarantine_id"],
            batch_seq=row["batch_seq"],
            ordinal=row["ordinal"],
            source=row["source"],
            reason=row["reason"],
            raw=row["raw"],
            truncated=bool(row["truncated"]),
            replayed=row["replayed"],
            dismissed=row["dismissed"],
            items=row["items"],
            binding=row["binding"],
            sent_as=row["sent_as"],
            target=_target(row),
        )
        for row in rows
    ]


async def dismiss_quarantined(
    connection: Connection, quarantine_ids: Sequence[int], author: Author, *, now: datetime
) -> int:
    """Take refused items out of what waits; returns how many."""
    return await SUSPENSE["dismiss_quarantined"].run(
        connection,
        quarantine_ids=list(quarantine_ids),
        actor=author.actor,
        reason=author.reason,
        dismissed_at=now,
    )


async def dismiss_suspense(
    connection: Connection, waiting: Suspended, author: Author, *, now: datetime
) -> None:
    """Take what waits under a name out of what waits, as much as is `waiting`."""
    await SUSPENSE["dismiss_suspense"].run(
        connection,
        customer_ref=waiting.customer_ref,
        requests=waiting.requests,
        input_tokens=waiting.input_tokens,
        output_tokens=waiting.output_tokens,
        actor=author.actor,
        reason=author.reason,
        dismissed_at=now,
    )


async def expire_raw(connection: Connection, *, now: datetime) -> int:
    """Delete raw bytes whose time is over; returns how many items lost theirs."""
    return await SUSPENSE["expire_raw"].run(connection, now=now)


def _target(row: asyncpg.Record) -> CorrectionTarget | None:
    if row["producer"] is None:
        return None
    identity = BatchIdentity(row["source_id"], row["producer"], row["epoch"], row["sequence"])
    return target_of(identity, row["ordinal"] - row["ordinal_from"])
