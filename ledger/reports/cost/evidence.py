"""Follows a cost line back to the pools, meters, readings, prices and usage it came from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger.domain.cost.deployment import Deployment, ServingDeployments
from ledger.domain.cost.factory import AssetTerms, Factory, PowerPrice, SiteUplift, valid_at
from ledger.domain.cost.gap import clip
from ledger.domain.errors import NotFoundError
from ledger.domain.period import WINDOW
from ledger.reports.cost.margin import find_entity
from ledger.store.connect import CutOff
from ledger.store.cost import cost, margin
from ledger.store.cost.factory import load_factory
from ledger.store.energy import meter
from ledger.store.queries import Connection

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CostEvidence:
    """One cost line and everything it came from, as known at a cut-off.

    `activity` holds every usage key that shared the scope's window with it.
    """

    line: Row
    pools: tuple[Row, ...]
    meters: tuple[Row, ...]
    readings: tuple[Row, ...]
    activity: tuple[Row, ...]
    deployment: Deployment | None
    asset: AssetTerms | None
    uplift: SiteUplift | None
    prices: tuple[PowerPrice, ...]


async def trace_cost_line(
    connection: Connection,
    *,
    scope: str,
    window_start: datetime,
    line: str,
    usage_key_id: int,
    cut_off: CutOff,
) -> CostEvidence:
    """The evidence of one line; NotFoundError where no such line was known at the cut-off."""
    seq, until = cut_off.batch_seq, window_start + WINDOW
    row = await margin.find_line_evidence(
        connection,
        scope=scope,
        window_start=window_start,
        line=line,
        usage_key_id=usage_key_id,
        batch_seq=seq,
    )
    if row is None:
        raise NotFoundError(
            f"No cost line {line} of {scope} in {window_start.isoformat()} is known.",
            "Allocate first, or name a later cut-off.",
            where=scope,
        )
    entity = await find_entity(connection, row["entity_id"])
    # Inputs as the allocation knew them, which drew its own cut-off earlier.
    factory = await load_factory(
        connection,
        entity,
        since=window_start,
        until=until,
        batch_seq=row["known_batch_seq"],
    )
    deployment, asset, gpus = _served(factory, scope, window_start)
    known: int = row["known_batch_seq"]
    pools = await margin.find_line_pools(
        connection, scope=scope, window_start=window_start, batch_seq=seq
    )
    meters = await meter.find_meter_windows(
        connection, gpu_uuids=gpus, since=window_start, until=until, batch_seq=seq
    )
    readings = await meter.find_readings(
        connection, gpu_uuids=gpus, since=window_start, until=until, batch_seq=known
    )
    site = asset.facility_id if asset else None
    uplifts = [u for u in valid_at(factory.uplifts, window_start) if u.facility_id == site]
    return CostEvidence(
        line=row,
        pools=tuple(pools),
        meters=tuple(dict(one) for one in meters),
        readings=tuple(dict(one) for one in readings),
        activity=await _activity(connection, factory, deployment, window_start, known),
        deployment=deployment,
        asset=asset,
        uplift=uplifts[0] if uplifts else None,
        prices=tuple(_prices(factory, site, window_start, until)),
    )


def _served(
    factory: Factory, scope: str, moment: datetime
) -> tuple[Deployment | None, AssetTerms | None, Sequence[str]]:
    kind, _, name = scope.partition(":")
    assets = {asset.asset_id: asset for asset in valid_at(factory.assets, moment)}
    if kind == "deployment":
        for deployment in valid_at(factory.deployments, moment):
            if deployment.deployment_id == name:
                return deployment, assets.get(deployment.asset_id), deployment.gpu_uuids
    if kind == "gpu":
        home = factory.homes.get(name)
        return None, assets.get(home.asset_id or "") if home else None, [name]
    return None, assets.get(name), []


def _prices(
    factory: Factory, site: str | None, since: datetime, until: datetime
) -> Sequence[PowerPrice]:
    parts = ((price, *clip(price, (since, until))) for price in factory.prices)
    return [price for price, start, end in parts if price.facility_id == site and start < end]


async def _activity(
    connection: Connection,
    factory: Factory,
    deployment: Deployment | None,
    window_start: datetime,
    batch_seq: int,
) -> tuple[Row, ...]:
    if deployment is None:
        return ()
    rows = await cost.find_activity(connection, windows=[window_start], batch_seq=batch_seq)
    engines = {row["engine_key_id"] for row in rows}
    keys = await cost.find_engine_keys(connection, engine_key_ids=engines)
    claims = ServingDeployments(valid_at(factory.deployments, window_start))
    return tuple(
        dict(row)
        for row in rows
        if deployment in claims.of(keys[row["engine_key_id"]], row["entity_id"])
    )
