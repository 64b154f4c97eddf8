"""Writes what a kWh of a site emits and drinks, and reads what energy took by it."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, Unpack

import asyncpg

from ledger.domain.cost.efficiency import EfficiencySum, KindSum
from ledger.store.copying import copy_rows
from ledger.store.queries import Connection, load_queries
from ledger.store.within import OfEntity
from ledger.wire.grid_inputs import GRID_KINDS

GRID = load_queries("cost/grid")


class GridFactor(NamedTuple):
    """What a kWh takes in [valid_from, valid_to), and who says so."""

    source: str
    valid_from: datetime
    valid_to: datetime
    per_kwh: Decimal


class GridHole(NamedTuple):
    """When a site used energy and a series says nothing."""

    facility_id: str | None
    kind: str
    valid_from: datetime
    valid_to: datetime


async def find_open_grid_factors(
    connection: Connection, facility_id: str, kind: str, *, since: datetime, until: datetime
) -> list[GridFactor]:
    """Factors of a site and kind that overlap [since, until), in order."""
    return await GRID["find_open_grid_factors"].values(
        connection, GridFactor, facility_id=facility_id, kind=kind, since=since, until=until
    )


async def supersede_grid_factors(
    connection: Connection,
    facility_id: str,
    kind: str,
    *,
    starts: Sequence[datetime],
    ends: Sequence[datetime],
    batch_seq: int,
) -> int:
    """Close what the offered periods overlap, keep the rest of it; returns the rows so entered."""
    return await GRID["supersede_grid_factors"].run(
        connection,
        facility_id=facility_id,
        kind=kind,
        starts=list(starts),
        ends=list(ends),
        batch_seq=batch_seq,
    )


async def copy_grid_factors(
    connection: Connection,
    facility_id: str,
    kind: str,
    factors: Iterable[GridFactor],
    *,
    batch_seq: int,
) -> None:
    """Store factors by COPY."""
    recorded = asyncpg.Range(batch_seq, None)
    await copy_rows(
        connection,
        "grid_factor",
        ["facility_id", "kind", "source", "period", "per_kwh", "recorded"],
        [
            (
                *(facility_id, kind, factor.source),
                *(asyncpg.Range(factor.valid_from, factor.valid_to), factor.per_kwh, recorded),
            )
            for factor in factors
        ],
    )


async def sum_efficiency(
    connection: Connection, *, by: Sequence[str], zone: str, **asked: Unpack[OfEntity]
) -> list[EfficiencySum]:
    """What energy took, per scope, line, who used it and kind of token, told apart by some of
    DIMENSIONS."""
    return await GRID["sum_efficiency"].values(
        connection, EfficiencySum, by=list(by), by_day="day" in by, zone=zone, **asked
    )


async def sum_token_kinds(
    connection: Connection, *, by: Sequence[str], **asked: Unpack[OfEntity]
) -> list[KindSum]:
    """Tokens by kind, per who used them, told apart by some of DIMENSIONS."""
    return await GRID["sum_token_kinds"].values(
        connection, KindSum, by=list(by), by_day="day" in by, **asked
    )


async def find_grid_holes(connection: Connection, **asked: Unpack[OfEntity]) -> list[GridHole]:
    """When an entity used energy and a series of the site says nothing."""
    return await GRID["find_grid_holes"].values(
        connection, GridHole, kinds=list(GRID_KINDS), **asked
    )
