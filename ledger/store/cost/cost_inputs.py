"""Writes and reads what the factory costs: sites, hardware, power prices, deployments, FX."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import asyncpg

from ledger.store.copying import copy_rows
from ledger.store.dated import DatedRow, DatedTable, dated_row
from ledger.store.queries import Connection, load_queries

COSTS = load_queries("cost/cost_inputs")
PUES = DatedTable(
    "PUE",
    ("facility_id",),
    COSTS["find_open_pues"],
    COSTS["supersede_pues"],
    COSTS["insert_pue"],
)
ENERGY_METERS = DatedTable(
    "energy meter",
    ("meter",),
    COSTS["find_open_energy_meters"],
    COSTS["supersede_energy_meters"],
    COSTS["insert_energy_meter"],
)
ASSETS = DatedTable(
    "asset",
    ("asset_id",),
    COSTS["find_open_assets"],
    COSTS["supersede_assets"],
    COSTS["insert_asset"],
)
DEPLOYMENTS = DatedTable(
    "deployment",
    ("deployment_id",),
    COSTS["find_open_deployments"],
    COSTS["supersede_deployments"],
    COSTS["insert_deployment"],
)

WEIGHT_SETS = DatedTable(
    "weight set",
    ("deployment_id",),
    COSTS["find_open_weight_sets"],
    COSTS["supersede_weight_sets"],
    COSTS["insert_weight_set"],
)


@dataclass(frozen=True, slots=True)
class Facility:
    """A site."""

    facility_id: str
    entity_id: str
    name: str
    zone: str


@dataclass(frozen=True, slots=True)
class Tariff:
    """A contract for electricity."""

    tariff_id: str
    facility_id: str
    name: str
    currency: str


class TariffPrice(NamedTuple):
    """What a MWh costs by a tariff in [valid_from, valid_to)."""

    tariff_id: str
    valid_from: datetime
    valid_to: datetime
    price_per_mwh: Decimal


class PriceHole(NamedTuple):
    """[since, until) between prices of a site, of which it has none."""

    since: datetime
    until: datetime


class RecordedRate(NamedTuple):
    """An exchange rate of a day, and who published it."""

    base: str
    quote: str
    day: date
    rate: Decimal
    source: str


class RateBefore(NamedTuple):
    """A rate and the one published before it; `turned` where that is of the pair turned."""

    base: str
    quote: str
    day: date
    rate: Decimal
    before_day: date
    before_rate: Decimal
    turned: bool


async def find_facility(connection: Connection, facility_id: str) -> Facility | None:
    """A site, or None."""
    return await COSTS["find_facility"].first(connection, Facility, facility_id=facility_id)


async def insert_facility(
    connection: Connection, values: Mapping[str, Any], *, batch_seq: int
) -> None:
    """Store a new site."""
    await COSTS["insert_facility"].run(connection, **values, batch_seq=batch_seq)


async def find_tariff(connection: Connection, tariff_id: str) -> Tariff | None:
    """A tariff, or None."""
    return await COSTS["find_tariff"].first(connection, Tariff, tariff_id=tariff_id)


async def insert_tariff(
    connection: Connection, values: Mapping[str, Any], *, batch_seq: int
) -> None:
    """Store a new tariff."""
    await COSTS["insert_tariff"].run(connection, **values, batch_seq=batch_seq)


async def find_open_tariff_prices(
    connection: Connection, facility_id: str, *, since: datetime, until: datetime
) -> list[TariffPrice]:
    """Prices of a site that overlap [since, until), in order."""
    return await COSTS["find_open_tariff_prices"].values(
        connection, TariffPrice, facility_id=facility_id, since=since, until=until
    )


async def find_price_holes(
    connection: Connection, facility_id: str, *, since: datetime, until: datetime
) -> list[PriceHole]:
    """Times between the prices of a site of which it has none, where they touch [since, until]."""
    return await COSTS["find_price_holes"].values(
        connection, PriceHole, facility_id=facility_id, since=since, until=until
    )


async def supersede_tariff_prices(
    connection: Connection,
    facility_id: str,
    *,
    starts: Sequence[datetime],
    ends: Sequence[datetime],
    batch_seq: int,
) -> int:
    """Close what the offered periods overlap, keep the rest of it; returns the rows so entered."""
    return await COSTS["supersede_tariff_prices"].run(
        connection,
        facility_id=facility_id,
        starts=list(starts),
        ends=list(ends),
        batch_seq=batch_seq,
    )


async def copy_tariff_prices(
    connection: Connection,
    prices: Iterable[tuple[datetime, datetime, Decimal]],
    *,
    tariff_id: str,
    facility_id: str,
    batch_seq: int,
) -> None:
    """Store (from, to, price per MWh) rows by COPY."""
    recorded = asyncpg.Range(batch_seq, None)
    await copy_rows(
        connection,
        "tariff_price",
        ["tariff_id", "facility_id", "period", "price_per_mwh", "recorded"],
        [
            (tariff_id, facility_id, asyncpg.Range(start, end), price, recorded)
            for start, end, price in prices
        ],
    )


async def list_asset_deployments(
    connection: Connection, asset_id: str, *, valid_from: datetime, valid_to: datetime | None
) -> list[DatedRow]:
    """Deployments on an asset in a period, with their `gpu_count`."""
    rows = await COSTS["list_asset_deployments"].rows(
        connection, asset_id=asset_id, valid_from=valid_from, valid_to=valid_to
    )
    return [dated_row(row) for row in rows]


async def find_other_weights(
    connection: Connection, deployment_id: str, version: int, weights: Mapping[str, int]
) -> str | None:
    """The weight set of a deployment that has this version and other weights, if any ever had."""
    other: str | None = await COSTS["find_other_weights"].value(
        connection, deployment_id=deployment_id, version=version, **weights
    )
    return other


async def find_open_members(
    connection: Connection,
    *,
    gpu_uuids: Sequence[str],
    engine_instances: Sequence[str],
    valid_from: datetime,
    valid_to: datetime | None,
) -> list[DatedRow]:
    """Who has these GPUs and instances in a period: `deployment_id`, `kind`, `member`."""
    rows = await COSTS["find_open_members"].rows(
        connection,
        gpu_uuids=list(gpu_uuids),
        engine_instances=list(engine_instances),
        valid_from=valid_from,
        valid_to=valid_to,
    )
    return [dated_row(row) for row in rows]


async def close_members(connection: Connection, row_ids: Sequence[int], *, batch_seq: int) -> None:
    """Close the members of deployments that are closed."""
    await COSTS["close_members"].run(connection, row_ids=list(row_ids), batch_seq=batch_seq)


async def insert_members(connection: Connection, row_ids: Sequence[int]) -> None:
    """Store the members of deployments from their own lists."""
    await COSTS["insert_members"].run(connection, row_ids=list(row_ids))


async def find_open_fx_rates(
    connection: Connection,
    *,
    bases: Sequence[str],
    quotes: Sequence[str],
    days: Sequence[date],
) -> list[RecordedRate]:
    """The rates already there for these pairs and days."""
    return await COSTS["find_open_fx_rates"].values(
        connection, RecordedRate, bases=list(bases), quotes=list(quotes), days=list(days)
    )


async def find_fx_rates_before(
    connection: Connection,
    *,
    bases: Sequence[str],
    quotes: Sequence[str],
    days: Sequence[date],
    carried_days: int,
) -> list[RateBefore]:
    """The rates recorded of these pairs and days beside those before them, where there are any."""
    return await COSTS["find_fx_rates_before"].values(
        connection,
        RateBefore,
        bases=list(bases),
        quotes=list(quotes),
        days=list(days),
        carried_days=carried_days,
    )


async def close_fx_rates(
    connection: Connection,
    *,
    bases: Sequence[str],
    quotes: Sequence[str],
    days: Sequence[date],
    batch_seq: int,
) -> None:
    """Close the rates of these pairs and days."""
    await COSTS["close_fx_rates"].run(
        connection,
        bases=list(bases),
        quotes=list(quotes),
        days=list(days),
        batch_seq=batch_seq,
    )


async def copy_fx_rates(
    connection: Connection,
    rates: Iterable[tuple[str, str, date, Decimal, str]],
    *,
    batch_seq: int,
) -> None:
    """Store (base, quote, day, rate, source) rows by COPY."""
    recorded = asyncpg.Range(batch_seq, None)
    await copy_rows(
        connection,
        "fx_rate",
        ["base", "quote", "day", "rate", "source", "recorded"],
        [(*rate, recorded) for rate in rates],
    )
