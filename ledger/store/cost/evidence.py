"""Reads one window's cost lines and pools as they stood at a cut-off, and where there are any."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from ledger.domain.metering.event_key import event_key
from ledger.domain.metering.target import CorrectionTarget
from ledger.store.queries import Connection, load_queries

EVIDENCE = load_queries("cost/evidence")


@dataclass(frozen=True, slots=True)
class WindowCost:
    """A cost line of one scope and window; `usage_key_id` 0 is of nobody's usage.

    `known_batch_seq` is the stored order up to which its inputs were read.
    """

    line: str
    usage_key_id: int
    revision: int
    cut_off_id: int
    known_batch_seq: int
    currency: str
    customer_id: str | None
    customer_ref: str | None
    agent_id: str | None
    tier: str | None
    model: str | None
    weight_version: int
    gpu_terms: str
    busy_s: int
    device_metered_mj: int
    device_estimated_mj: int
    host_mj: int
    overhead_mj: int
    device_cost: Decimal
    overhead_cost: Decimal
    gpu_cost: Decimal


@dataclass(frozen=True, slots=True)
class WindowPool:
    """What a scope's window cost in one kind, before anybody was charged."""

    kind: str
    revision: int
    cut_off_id: int
    currency: str
    amount: Decimal


async def find_window_costs(
    connection: Connection, *, entity_id: str, scope: str, window_start: datetime, batch_seq: int
) -> list[WindowCost]:
    """Every cost line of an entity's scope in a window, by line and usage key."""
    return await EVIDENCE["find_window_costs"].values(
        connection,
        WindowCost,
        entity_id=entity_id,
        scope=scope,
        window_start=window_start,
        batch_seq=batch_seq,
    )


async def find_window_pools(
    connection: Connection, *, scope: str, window_start: datetime, batch_seq: int
) -> list[WindowPool]:
    """The pools that those lines were cut from, by kind."""
    return await EVIDENCE["find_window_pools"].values(
        connection, WindowPool, scope=scope, window_start=window_start, batch_seq=batch_seq
    )


async def list_scopes(
    connection: Connection, *, entity_id: str, window_start: datetime, batch_seq: int
) -> list[str]:
    """The scopes of an entity that have cost lines in a window."""
    rows = await EVIDENCE["list_scopes"].rows(
        connection, entity_id=entity_id, window_start=window_start, batch_seq=batch_seq
    )
    return [row["scope"] for row in rows]


async def find_cost_span(
    connection: Connection, *, entity_id: str, batch_seq: int
) -> tuple[datetime, datetime] | None:
    """The first and the last window in which an entity has cost lines; None without any."""
    row = await EVIDENCE["find_cost_span"].row(connection, entity_id=entity_id, batch_seq=batch_seq)
    return (row["first_window"], row["last_window"]) if row and row["first_window"] else None


class NamedEvent(NamedTuple):
    """An event, and its place in the stored order."""

    source: str
    batch_seq: int
    ordinal: int


@dataclass(frozen=True, slots=True)
class KeyLine:
    """A usage key's line in a scope's window; `known_batch_seq` as of `WindowCost`."""

    entity_id: str
    scope: str
    window_start: datetime
    known_batch_seq: int
    currency: str
    weight_version: int
    device_metered_mj: int
    device_estimated_mj: int
    host_mj: int
    overhead_mj: int
    device_cost: Decimal
    overhead_cost: Decimal
    gpu_cost: Decimal


async def find_events(
    connection: Connection, event_id: str, *, source: str | None
) -> list[NamedEvent]:
    """Where events of this id are, by source: its id, or PRODUCER/EPOCH/SEQUENCE/ORDINAL."""
    named = CorrectionTarget(0, event_id).named_batch()
    batch, ordinal = named if named is not None else (None, None)
    sources = await EVIDENCE["list_sources"].rows(connection, source=source)
    keys = [UUID(bytes=event_key(row["source_id"], event_id)) for row in sources]
    return await EVIDENCE["find_events"].values(
        connection,
        NamedEvent,
        sources=[row["source"] for row in sources],
        keys=keys,
        source=source,
        producer=batch.producer if batch else None,
        epoch=batch.epoch if batch else None,
        sequence=batch.sequence if batch else None,
        ordinal=ordinal,
    )


async def find_key_lines(
    connection: Connection,
    usage_key_id: int,
    *,
    entity_ids: Sequence[str],
    windows: Sequence[datetime],
    batch_seq: int,
) -> list[KeyLine]:
    """Cost lines of a usage key, by window and scope."""
    return await EVIDENCE["find_key_lines"].values(
        connection,
        KeyLine,
        usage_key_id=usage_key_id,
        entity_ids=list(entity_ids),
        windows=list(windows),
        batch_seq=batch_seq,
    )
