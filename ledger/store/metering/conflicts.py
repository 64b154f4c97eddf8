"""Reads conflicts with what both sides said, and keeps how they were resolved."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeAlias

import polars as pl

from ledger.domain.author import Author
from ledger.domain.metering.key import EngineKeyRow, UsageKeyRow
from ledger.domain.metering.permission import Fields
from ledger.store.metering.chunks import find_batch_chunks, read_chunks
from ledger.store.metering.ingest import find_engine_keys, find_usage_keys
from ledger.store.operations import LAST
from ledger.store.queries import Connection, Reader, load_queries

CONFLICTS = load_queries("metering/conflicts")
# Of a batch that is shown.
STORED_MOST = 1_000
OFFER_COLUMNS = (
    *("batch_seq", "ordinal", "source_id", "offered", "items", "truncated", "binding"),
    "expires_at",
)


@dataclass(frozen=True, slots=True)
class ConflictState:
    """Other content under an identity that was taken, and how it was resolved."""

    conflict_id: int
    source: str
    event_id: str
    items: int
    batch_seq: int
    ordinal: int
    stored_batch_seq: int
    stored_ordinal: int
    offer_kept: bool
    expires_at: datetime | None
    resolution: str | None
    resolved_by: str | None
    reason: str | None
    resolved_at: datetime | None


@dataclass(frozen=True, slots=True)
class FoundConflict(ConflictState):
    """A conflict with what was offered, a line an event, and the binding of the key it was offered
    with; None is no longer kept.

    `of_bound` has the forms of the source's bound keys, by what they are bound to."""

    source_id: int
    form: str | None
    of_bound: Mapping[str, str] | None
    offered: str | None
    truncated: bool | None
    binding: Fields | None


@dataclass(frozen=True, slots=True)
class StoredUsage:
    """An attempt as it is stored, with who and what it names."""

    batch_seq: int
    ordinal: int
    event_id: str | None
    time: datetime
    started_at: datetime | None
    first_token_at: datetime | None
    ended_at: datetime | None
    customer_ref: str
    project_id: str
    api_key_id: str
    agent_id: str
    tier: str
    model: str
    adapter: str
    region: str
    engine_instance: str
    requests: int
    uncached: int
    cache_read: int
    cache_write: int
    visible: int
    reasoning: int


@dataclass(frozen=True, slots=True)
class StoredReading:
    """A reading as it is stored."""

    batch_seq: int
    ordinal: int
    gpu_uuid: str
    epoch: str
    sampled_at: datetime
    energy_mj: int
    power_mw: int | None
    method: str
    quality: str


@dataclass(frozen=True, slots=True)
class StoredCounter:
    """A counter of an engine as it is stored."""

    batch_seq: int
    ordinal: int
    engine: str
    engine_instance: str
    run_id: str
    scraped_at: datetime
    metric: str
    labels: Mapping[str, str]
    value: Decimal


@dataclass(frozen=True, slots=True)
class StoredGap:
    """A stretch without readings as it is stored."""

    batch_seq: int
    ordinal: int
    gpu_uuid: str
    reason: str
    since: datetime
    until: datetime
    detail: str | None


StoredItem: TypeAlias = StoredUsage | StoredReading | StoredCounter | StoredGap
STORED: Mapping[str, Callable[..., StoredItem]] = {
    "list_stored_usage": StoredUsage,
    "list_stored_readings": StoredReading,
    "list_stored_counters": StoredCounter,
    "list_stored_gaps": StoredGap,
}


async def list_conflicts(
    connection: Reader,
    *,
    rows: int,
    before: int = LAST,
    source: str | None = None,
    resolved: bool = False,
) -> list[ConflictState]:
    """Conflicts that wait, or with `resolved` all of them, newest first, ids below `before`."""
    return await CONFLICTS["list_conflicts"].values(
        connection, ConflictState, rows=rows, before=before, source=source, resolved=resolved
    )


async def find_conflict(connection: Connection, conflict_id: int) -> FoundConflict | None:
    """One conflict, with what was offered as far as it is kept."""
    return await CONFLICTS["find_conflict"].first(
        connection, FoundConflict, conflict_id=conflict_id
    )


async def count_conflicts(connection: Connection) -> int:
    """Conflicts that nobody has resolved."""
    return int(await CONFLICTS["count_conflicts"].value(connection))


async def list_stored(
    connection: Connection, *, batch_seq: int, first: int, items: int
) -> Sequence[StoredItem]:
    """What is stored of `items` rows of a batch, whatever kind it is; none where it is archived."""
    within = {"batch_seq": batch_seq, "first": first, "until": first + items, "most": STORED_MOST}
    for query, kind in STORED.items():
        stored = await CONFLICTS[query].values(connection, kind, **within)
        if stored:
            return stored
    return await _stored_in_chunk(connection, batch_seq=batch_seq, first=first, items=items)


async def _stored_in_chunk(
    connection: Connection, *, batch_seq: int, first: int, items: int
) -> list[StoredUsage]:
    within = pl.col("ordinal").is_between(first, first + items, closed="left")
    within &= pl.col("batch_seq") == batch_seq
    chunks = await find_batch_chunks(connection, [batch_seq])
    frames = [facts.filter(within) async for facts in read_chunks(connection, chunks)]
    rows = [
        row
        for facts in frames
        for row in facts.sort("ordinal").head(STORED_MOST).iter_rows(named=True)
    ]
    keys = await find_usage_keys(connection, [row["usage_key_id"] for row in rows])
    engines = await find_engine_keys(connection, [row["engine_key_id"] for row in rows])
    return [
        _stored_usage(row, keys[row["usage_key_id"]], engines[row["engine_key_id"]]) for row in rows
    ]


def _stored_usage(row: Mapping[str, Any], key: UsageKeyRow, engine: EngineKeyRow) -> StoredUsage:
    said = {**row} | asdict(key) | asdict(engine) | {"tier": key.tier, "model": key.model}
    return StoredUsage(**{each.name: said[each.name] for each in fields(StoredUsage)})


async def insert_resolution(
    connection: Connection, conflict_id: int, resolution: str, author: Author, *, now: datetime
) -> bool:
    """Keep what became of a conflict; False where somebody said so before."""
    kept = await CONFLICTS["insert_resolution"].run(
        connection,
        conflict_id=conflict_id,
        resolution=resolution,
        actor=author.actor,
        reason=author.reason,
        resolved_at=now,
    )
    return kept == 1


async def count_offered(
    connection: Connection, source_ids: Collection[int], *, since: datetime, most: int
) -> dict[int, int]:
    """How many events of each source are kept that expire after `since`; `most` or more."""
    rows = await CONFLICTS["count_offered"].rows(
        connection, source_ids=sorted(source_ids), since=since, most=most
    )
    return {row["source_id"]: row["items"] for row in rows}


async def expire_offers(connection: Connection, *, now: datetime) -> int:
    """Delete what was offered once its time is over; returns how many."""
    return await CONFLICTS["expire_offers"].run(connection, now=now)
