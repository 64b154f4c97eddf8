"""Sums that margin, energy and coverage reports are made of, as known at a cut-off."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple, Unpack

import polars as pl

from ledger.domain.cost.cost_sum import ChargeSum, CostSum, ForeignCharge, TokenSum
from ledger.domain.cost.deployment import EngineKey
from ledger.domain.energy.finding import MeterFinding, MeterGap
from ledger.domain.money import total
from ledger.store.memory import allow_memory
from ledger.store.metering.readings import lend, rows_with
from ledger.store.pricing.charged import Charged
from ledger.store.queries import Connection, load_queries
from ledger.store.within import OfEntity, Within

MARGIN = load_queries("cost/margin")
# Who used something is told apart by some of these; what is not asked for is None.
DIMENSIONS = ("tier", "customer", "agent", "model", "project", "api_key", "adapter", "region")


class PoolSum(NamedTuple):
    """What windows cost in a currency and kind, before anybody was charged."""

    currency: str
    kind: str
    amount: Decimal


class CostDaySum(NamedTuple):
    """What a line of a local day took and cost in a currency."""

    day: date
    line: str
    currency: str
    energy_mj: int
    electricity: Decimal
    overhead: Decimal
    gpu_cost: Decimal

    @property
    def cost(self) -> Decimal:
        """All of it."""
        return total([self.electricity, self.overhead, self.gpu_cost])


class MeterSum(NamedTuple):
    """Energy of a GPU, the entity it belongs to, and the deployments it served meanwhile."""

    gpu_uuid: str
    entity_id: str | None
    deployment_ids: Sequence[str]
    metered_mj: int
    estimated_mj: int
    covered_s: int
    windows: int


class EngineWork(NamedTuple):
    """Tokens of an entity's customers in a window, and where they were worked on."""

    engine_key_id: int
    engine_instance: str
    model: str
    tier: str
    entity_id: str | None
    window_start: datetime
    input: int
    output: int

    @property
    def key(self) -> EngineKey:
        """Where it ran."""
        return EngineKey(self.engine_key_id, self.engine_instance, self.model, self.tier)


class DayRate(NamedTuple):
    """The published rate by which amounts of a day are converted from `base`."""

    base: str
    used_on: date
    published: date
    multiplier: Decimal
    divisor: Decimal
    source: str


async def sum_cost_lines(
    connection: Connection, *, by: Iterable[str], **asked: Unpack[OfEntity]
) -> list[CostSum]:
    """Cost and energy per scope, line and who used it, told apart by some of DIMENSIONS."""
    # Without room for a group of each key, the lines of all days are sorted by texts on disk.
    async with connection.transaction():
        await allow_memory(connection)
        return await MARGIN["sum_cost_lines"].values(connection, CostSum, by=sorted(by), **asked)


async def sum_cost_days(
    connection: Connection, *, zone: str, **asked: Unpack[OfEntity]
) -> list[CostDaySum]:
    """Cost and energy by local day, line and currency."""
    return await MARGIN["sum_cost_days"].values(connection, CostDaySum, zone=zone, **asked)


async def sum_usage(
    connection: Connection, *, by: Iterable[str], **asked: Unpack[OfEntity]
) -> list[TokenSum]:
    """Tokens per who used them, told apart by some of DIMENSIONS."""
    return await MARGIN["sum_usage"].values(connection, TokenSum, by=sorted(by), **asked)


async def sum_charges(
    connection: Connection, *, by: Iterable[str], charged: Charged, **asked: Unpack[OfEntity]
) -> list[ChargeSum]:
    """Revenue per currency and who owes it, told apart by some of DIMENSIONS, with the tokens that
    wait for a price."""
    return await MARGIN["sum_charges"].values(
        connection, ChargeSum, by=sorted(by), asked=charged, **asked
    )


async def sum_foreign_charges(
    connection: Connection, *, home: str, zone: str, charged: Charged, **asked: Unpack[OfEntity]
) -> list[ForeignCharge]:
    """Revenue in other currencies than `home`, by day in a zone, as `sum_charges` says it."""
    return await MARGIN["sum_foreign_charges"].values(
        connection, ForeignCharge, home=home, zone=zone, asked=charged, **asked
    )


async def sum_pools(connection: Connection, **asked: Unpack[OfEntity]) -> list[PoolSum]:
    """What windows cost before anybody was charged, per currency and kind."""
    return await MARGIN["sum_pools"].values(connection, PoolSum, **asked)


async def sum_meter_windows(connection: Connection, **asked: Unpack[Within]) -> list[MeterSum]:
    """Energy per GPU, the entity it belongs to, and the deployment it served (NULL: none)."""
    return await MARGIN["sum_meter_windows"].values(connection, MeterSum, **asked)


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
) -> list[MeterFinding]:
    """What was noticed about meters: GPU, reason, windows, the first and the last of them."""
    return await MARGIN["list_meter_findings"].values(
        connection, MeterFinding, gpu_uuids=list(gpu_uuids), **within
    )


async def list_meter_gaps(
    connection: Connection, *, gpu_uuids: Sequence[str], **within: Unpack[Within]
) -> list[MeterGap]:
    """When meters gave no reading, and why."""
    return await MARGIN["list_meter_gaps"].values(
        connection, MeterGap, gpu_uuids=list(gpu_uuids), **within
    )


async def count_gpu_readings(
    connection: Connection, *, gpu_uuids: Sequence[str], **within: Unpack[Within]
) -> dict[str, int]:
    """How many readings of each GPU came; one without any is left out."""
    wanted = pl.col("gpu_uuid").is_in(list(gpu_uuids))
    lent = await lend(connection, "gpu_reading", wanted, "gpu_uuid", **within)
    asked = {"gpu_uuids": list(gpu_uuids), **within}
    query = MARGIN["count_gpu_readings"]
    rows = await rows_with(connection, query, "gpu_reading", lent, **asked)
    return {row["gpu_uuid"]: row["readings"] for row in rows}


async def find_engine_activity(connection: Connection, **asked: Unpack[Within]) -> list[EngineWork]:
    """Tokens per window, engine key and entity of the customer."""
    return await MARGIN["find_engine_activity"].values(connection, EngineWork, **asked)


class WorkedAt(NamedTuple):
    """The first and the last window in which customers of an entity had work at an engine."""

    engine_key_id: int
    entity_id: str | None
    first_window: datetime
    last_window: datetime


async def find_work_at(
    connection: Connection, times: Sequence[tuple[int, datetime, datetime]], batch_seq: int
) -> list[WorkedAt]:
    """Work at engine keys, each from one moment to another, as known at a cut-off."""
    if not times:
        return []
    engine_key_ids, sinces, untils = (list(column) for column in zip(*times, strict=True))
    return await MARGIN["find_work_at"].values(
        connection,
        WorkedAt,
        engine_key_ids=engine_key_ids,
        sinces=sinces,
        untils=untils,
        batch_seq=batch_seq,
    )


async def find_fx_rates(
    connection: Connection,
    *,
    asked: Sequence[tuple[str, date]],
    quote: str,
    carried_days: int,
    batch_seq: int,
) -> list[DayRate]:
    """By which rate each (base, day) becomes `quote`; pairs and days without one are left out."""
    return await MARGIN["find_fx_rates"].values(
        connection,
        DayRate,
        bases=[base for base, _ in asked],
        days=[day for _, day in asked],
        quote=quote,
        carried_days=carried_days,
        batch_seq=batch_seq,
    )
