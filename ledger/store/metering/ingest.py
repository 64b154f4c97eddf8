"""Writes what was received: sources, keys, claims, facts, deltas, quarantine, positions."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime

import polars as pl

from ledger.domain.metering.batch_identity import BatchIdentity
from ledger.domain.metering.identities import (
    NewBatch,
    Refused,
    StoredBatch,
)
from ledger.domain.metering.key import EngineKeyRow, UsageKeyRow
from ledger.domain.metering.spread import WORK
from ledger.domain.period import WINDOW_SECONDS
from ledger.store.binary import Rows, bits, field
from ledger.store.binary_arrays import arrays
from ledger.store.queries import Connection, load_queries

INGEST = load_queries("metering/ingest")
RAW_BYTES_MAX = 64 * 1024
LETTER_BYTES_MAX = 16 * 1024 * 1024


async def ensure_partitions(connection: Connection, first_day: date, *, days: int) -> int:
    """Make the daily partitions from `first_day` on; returns how many were new."""
    return int(
        await INGEST["ensure_partitions"].value(connection, first_day=first_day, days=days) or 0
    )


async def insert_sources(
    connection: Connection, forms: Sequence[tuple[str, str | None]], *, batch_seq: int
) -> None:
    """Register (source, form) pairs; one already registered keeps its form, if it has one."""
    await INGEST["insert_sources"].run(
        connection,
        sources=[source for source, _ in forms],
        forms=[form for _, form in forms],
        batch_seq=batch_seq,
    )


async def insert_source_forms(
    connection: Connection, forms: Sequence[tuple[str, str, str]], *, batch_seq: int
) -> None:
    """Keep (source, owner, form) of bound keys, of sources that are registered; the first stays."""
    await INGEST["insert_source_forms"].run(
        connection,
        sources=[source for source, _, _ in forms],
        owners=[owner for _, owner, _ in forms],
        forms=[form for _, _, form in forms],
        batch_seq=batch_seq,
    )


async def insert_usage_keys(connection: Connection, keys: Sequence[UsageKeyRow]) -> int:
    """Store keys that are not stored yet; returns how many these were."""
    return await INGEST["insert_usage_keys"].run(
        connection,
        ids=[key.usage_key_id for key in keys],
        entities=[key.entity_id for key in keys],
        customers=[key.customer_id for key in keys],
        refs=[key.customer_ref for key in keys],
        projects=[key.project_id for key in keys],
        api_keys=[key.api_key_id for key in keys],
        agents=[key.agent_id for key in keys],
        tiers=[key.tier for key in keys],
        models=[key.model for key in keys],
        adapters=[key.adapter for key in keys],
        regions=[key.region for key in keys],
        bands=[key.context_band for key in keys],
        outcomes=[key.outcomes for key in keys],
    )


async def find_usage_keys(connection: Connection, ids: Sequence[int]) -> dict[int, UsageKeyRow]:
    """Stored keys by id."""
    keys = await INGEST["find_usage_keys"].values(connection, UsageKeyRow, ids=list(ids))
    return {key.usage_key_id: key for key in keys}


async def insert_engine_keys(connection: Connection, keys: Sequence[EngineKeyRow]) -> None:
    """Store keys that are not stored yet."""
    await INGEST["insert_engine_keys"].run(
        connection,
        ids=[key.engine_key_id for key in keys],
        instances=[key.engine_instance for key in keys],
        models=[key.model for key in keys],
        tiers=[key.tier for key in keys],
    )


async def find_engine_keys(connection: Connection, ids: Sequence[int]) -> dict[int, EngineKeyRow]:
    """Stored keys by id."""
    keys = await INGEST["find_engine_keys"].values(connection, EngineKeyRow, ids=list(ids))
    return {key.engine_key_id: key for key in keys}


async def lock_identities(connection: Connection, locks: Iterable[int]) -> None:
    """Wait for whoever stores or corrects the same places; held until the transaction ends."""
    await INGEST["lock_identities"].rows(connection, places=sorted(set(locks)))


async def find_batches(
    connection: Connection, identities: Iterable[BatchIdentity]
) -> dict[BatchIdentity, list[StoredBatch]]:
    """The batches that took these places, of each owner one."""
    batches: dict[BatchIdentity, list[StoredBatch]] = defaultdict(list)
    asked = list(dict.fromkeys(identities))
    for row in await INGEST["find_batches"].rows(connection, **_identities(asked)):
        batch = dict(row)
        batches[asked[batch.pop("n") - 1]].append(StoredBatch(**batch))
    return dict(batches)


async def insert_batches(
    connection: Connection, batches: Sequence[NewBatch], *, batch_seq: int
) -> int:
    """Claim places; returns how many were free."""
    return await INGEST["insert_batches"].run(
        connection,
        **_identities([batch.identity for batch in batches]),
        digests=[batch.digest for batch in batches],
        ordinals=[batch.ordinal_from for batch in batches],
        events=[batch.events for batch in batches],
        owners=[batch.owner for batch in batches],
        batch_seq=batch_seq,
    )


async def insert_quarantine(
    connection: Connection,
    refused: Sequence[Refused],
    *,
    batch_seq: int,
    received_at: datetime,
    expires_at: datetime,
) -> None:
    """Keep what was refused, and for a while 64 KiB of its bytes, of a dead letter 16 MiB."""
    await INGEST["insert_quarantine"].run(
        connection,
        batch_seq=batch_seq,
        received_at=received_at,
        expires_at=expires_at,
        ordinals=[each.ordinal for each in refused],
        sources=[each.reject.source for each in refused],
        event_ids=[each.reject.event_id for each in refused],
        reasons=[str(each.reject.reason) for each in refused],
        details=[each.reject.detail for each in refused],
        items=[each.items for each in refused],
        raws=[None if each.raw is None else each.raw[: _most(each)] for each in refused],
        truncated=[each.raw is not None and len(each.raw) > _most(each) for each in refused],
        bindings=[each.binding for each in refused],
        sent_as=[each.sent_as for each in refused],
    )


def _most(refused: Refused) -> int:
    return RAW_BYTES_MAX if refused.sent_as is None else LETTER_BYTES_MAX


async def count_kept(
    connection: Connection, sources: Collection[str], *, since: datetime, most: int
) -> dict[str, int]:
    """How many refused items of each source were kept since a moment, `most` at most."""
    rows = await INGEST["count_kept"].rows(
        connection, sources=sorted(sources), since=since, most=most
    )
    return {row["source"]: row["kept"] for row in rows}


def _identities(identities: Sequence[BatchIdentity]) -> dict[str, list[int] | list[str]]:
    return {
        "source_ids": [identity.source_id for identity in identities],
        "producers": [identity.producer for identity in identities],
        "epochs": [identity.epoch for identity in identities],
        "sequences": [identity.sequence for identity in identities],
    }


def encode_activity(activity: pl.DataFrame) -> Rows:
    """Rows of activity, from a frame with a row a usage key, in the order of window and engine; the
    number may come later. Sums that different cut-offs see (`seen_at`) are rows of their own."""
    cell = [n for n in ("window_start", "engine_key_id", "seen_at") if n in activity.columns]
    last = [pl.col("batch_seq").max()] if "batch_seq" in activity.columns else []
    cells = activity.group_by(cell, maintain_order=True).agg(pl.len().alias("keys"), *last)
    columns = [field(n, cells[n]) for n in cells.columns if n not in {"keys", "seen_at"}]
    columns.append(field("usage_key_ids", arrays(activity["usage_key_id"], cells["keys"])))
    return Rows([*columns, *(field(n, arrays(activity[n], cells["keys"])) for n in WORK)])


def encode_masks(masks: pl.DataFrame) -> Rows:
    """Rows of activity_mask, from a frame of its columns; the number may come later."""
    names = [name for name in masks.columns if name != "mask"]
    columns = [field(name, masks[name]) for name in names]
    return Rows([*columns, bits("mask", masks["mask"], WINDOW_SECONDS)])
