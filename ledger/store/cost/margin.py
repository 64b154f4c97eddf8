"""Sums that margin, energy and coverage reports are made of, as known at a cut-off."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any, TypeAlias, TypedDict, Unpack

from ledger.store.queries import Connection, Query, load_queries, with_counts

MARGIN = load_queries("cost/margin")
_ENERGY = ("device_metered_mj", "device_estimated_mj", "host_mj", "overhead_mj")
COST_COUNTS = ("busy_s", *_ENERGY)
_COUNTS = {
    "sum_cost_lines": COST_COUNTS,
    "sum_usage": ("requests", "uncached", "cache_read", "cache_write", "output"),
    "sum_charges": ("unpriced_tokens",),
    "sum_foreign_charges": ("unpriced_tokens",),
    "sum_meter_windows": ("metered_mj", "estimated_mj", "covered_s"),
    "find_engine_activity": ("input", "output"),
}
Sums: TypeAlias = dict[str, Any]


class Within(TypedDict):
    """Over [since, until), as known at a cut-off."""

    since: datetime
    until: datetime
    batch_seq: int


class OfEntity(Within):
    """The same, of one entity."""

    entity_id: str


def _plain(rows: Iterable[Any]) -> list[Sums]:
    return [dict(row) for row in rows]


async def _sums(connection: Connection, query: Query, **asked: object) -> list[Sums]:
    rows = await query.rows(connection, **asked)
    return with_counts(rows, _COUNTS.get(query.name, ()))


async def sum_cost_lines(connection: Connection, **asked: Unpack[OfEntity]) -> list[Sums]:
    """Cost and energy per scope, line and who used it."""
    return await _sums(connection, MARGIN["sum_cost_lines"], **asked)


async def sum_usage(connection: Connection, **asked: Unpack[OfEntity]) -> list[Sums]:
    """Tokens per who used them."""
    return await _sums(connection, MARGIN["sum_usage"], **asked)


async def sum_charges(connection: Connection, **asked: Unpack[OfEntity]) -> list[Sums]:
    """Revenue per currency and who owes it, with the tokens that wait for a price."""
    return await _sums(connection, MARGIN["sum_charges"], **asked)


async def sum_foreign_charges(
    connection: Connection, *, home: str, zone: str, **asked: Unpack[OfEntity]
) -> list[Sums]:
    """Revenue in other currencies than `home`, by day in a zone, as `sum_charges` says it."""
    return await _sums(connection, MARGIN["sum_foreign_charges"], home=home, zone=zone, **asked)


async def sum_pools(connection: Connection, **asked: Unpack[OfEntity]) -> list[Sums]:
    """What windows cost before anybody was charged, per currency and kind."""
    return await _sums(connection, MARGIN["sum_pools"], **asked)


async def sum_meter_windows(connection: Connection, **asked: Unpack[Within]) -> list[Sums]:
    """Energy per GPU, the entity it belongs to, and the deployment it served (NULL: none)."""
    return await _sums(connection, MARGIN["sum_meter_windows"], **asked)


async def find_metered_spans(
    connection: Connection, *, gpu_uuids: Sequence[str], **within: Unpack[Within]
) -> dict[str, list[tuple[datetime, datetime]]]:
    """When each GPU's energy is known."""
    rows = await MARGIN["find_metered_spans"].rows(connection, gpu_uuids=list(gpu_uuids), **within)
    spans: dict[str, list[tuple[datetime, datetime]]] = {}
    for row in rows:
        spans.setdefault(row["gpu_uuid"], []).append((row["valid_from"], row["valid_to"]))
    return spans


async def list_meter_findings(
    connection: Connection, *, gpu_uuids: Sequence[str], **within: Unpack[Within]
) -> list[Sums]:
    """What was noticed about meters: GPU, reason, windows, the first and the last of them."""
    rows = await MARGIN["list_meter_findings"].rows(connection, gpu_uuids=list(gpu_uuids), **within)
    return _plain(rows)


async def list_meter_gaps(
    connection: Connection, *, gpu_uuids: Sequence[str], **within: Unpack[Within]
) -> list[Sums]:
    """When meters gave no reading, and why: GPU, reason, since, until, detail."""
    rows = await MARGIN["list_meter_gaps"].rows(connection, gpu_uuids=list(gpu_uuids), **within)
    return _plain(rows)


async def count_gpu_readings(
    connection: Connection, *, gpu_uuids: Sequence[str], **within: Unpack[Within]
) -> dict[str, int]:
    """How many readings of each GPU came; one without any is left out."""
    rows = await MARGIN["count_gpu_readings"].rows(connection, gpu_uuids=list(gpu_uuids), **within)
    return {row["gpu_uuid"]: row["readings"] for row in rows}


async def find_engine_activity(connection: Connection, **asked: Unpack[Within]) -> list[Sums]:
    """Tokens per window, engine key and entity of the customer."""
    return await _sums(connection, MARGIN["find_engine_activity"], **asked)


async def find_fx_rates(
    connection: Connection,
    *,
    asked: Sequence[tuple[str, date]],
    quote: str,
    carried_days: int,
    batch_seq: int,
) -> list[Sums]:
    """By which rate each (base, day) becomes `quote`; pairs and days without one are left out."""
    rows = await MARGIN["find_fx_rates"].rows(
        connection,
        bases=[base for base, _ in asked],
        days=[day for _, day in asked],
        quote=quote,
        carried_days=carried_days,
        batch_seq=batch_seq,
    )
    return _plain(rows)
