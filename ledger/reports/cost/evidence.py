"""Follows cost lines back to the pools, meters, readings, prices and usage they came from."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

from ledger.domain.cost.cause import CAUSES, USAGE
from ledger.domain.cost.deployment import Deployment, ServingDeployments
from ledger.domain.cost.factory import AssetTerms, Factory, PowerPrice, SiteUplift, valid_at
from ledger.domain.cost.gap import clip
from ledger.domain.cost.unread import GpuEstimate
from ledger.domain.energy.span import BY_WEIGHTS
from ledger.domain.errors import InvalidInputError, NotFoundError
from ledger.domain.money import total
from ledger.domain.period import WINDOW, Period, window_start
from ledger.flows.cost.fill_unread import list_estimates
from ledger.flows.cost.recall import recall_lines
from ledger.reports.cost.margin import find_entity
from ledger.store.connect import CutOff
from ledger.store.cost import cost, evidence
from ledger.store.cost.evidence import WindowCost, WindowPool
from ledger.store.cost.factory import load_factory
from ledger.store.energy import meter
from ledger.store.queries import Connection

LINES = (USAGE, *CAUSES)
USAGE_KEY_MAX = 2**63
NAMED_MAX = 5


@dataclass(frozen=True, slots=True)
class AskedCost:
    """Which cost lines are asked for: a scope's in the quarter hour that holds `moment`.

    `line` and `usage_key_id` narrow them where they are not None.
    """

    entity_id: str
    scope: str
    moment: datetime
    line: str | None = None
    usage_key_id: int | None = None

    @property
    def window_start(self) -> datetime:
        """The start of the quarter hour, UTC."""
        return window_start(self.moment)

    def names(self, line: WindowCost) -> bool:
        """Whether it is one of those asked for."""
        return self.line in {None, line.line} and self.usage_key_id in {None, line.usage_key_id}


@dataclass(frozen=True, slots=True)
class ServedBy:
    """What ran under a scope: its deployment and asset, where there is one, and its GPUs."""

    deployment: Deployment | None
    asset: AssetTerms | None
    gpu_uuids: Sequence[str]


@dataclass(frozen=True, slots=True)
class SharedWork:
    """Tokens of a usage key that shared a scope's window, and where they were worked on."""

    engine_instance: str
    activity: cost.WindowActivity


@dataclass(frozen=True, slots=True)
class CostEvidence:
    """Cost lines of one scope and window and everything they came from, known at a cut-off.

    `activity` is of every usage key that shared the scope's window with them.
    """

    asked: AskedCost
    cut_off: CutOff
    lines: tuple[WindowCost, ...]
    pools: tuple[WindowPool, ...]
    meters: Sequence[meter.GpuWindow]
    readings: Sequence[meter.GpuReading]
    activity: Sequence[SharedWork]
    deployment: Deployment | None
    asset: AssetTerms | None
    uplift: SiteUplift | None
    prices: tuple[PowerPrice, ...]
    asset_history: Sequence[AssetTerms] = ()
    estimates: Sequence[GpuEstimate] = ()


def how_to_trace(scopes: Iterable[str]) -> Iterator[str]:
    """A line of what to type to follow the cost of one of these scopes, if there is one."""
    names = sorted(set(scopes))
    if not names:
        return
    others = f" {_there_are(names)}" if len(names) > 1 else ""
    yield f"Behind a cost: tokenledger trace cost --scope {names[0]} --at TIME.{others}"


def asked_line(name: str | None) -> str | None:
    """A line as it was typed; InvalidInputError names those there are."""
    if name not in {None, *LINES}:
        raise InvalidInputError(f"line: found {name!r}.", f"Ask for {', '.join(LINES)}.", "line")
    return name


def asked_usage_key(text: str | None) -> int | None:
    """A usage key as it was typed; InvalidInputError where none is written so."""
    if text is None:
        return None
    if re.fullmatch("-?[0-9]{1,19}", text) and -USAGE_KEY_MAX <= int(text) < USAGE_KEY_MAX:
        return int(text)
    raise InvalidInputError(
        f"usage_key: found {text!r}.", "Send one as the lines of the scope say it.", "usage_key"
    )


async def trace_cost(connection: Connection, asked: AskedCost, *, cut_off: CutOff) -> CostEvidence:
    """The evidence of cost lines; NotFoundError says what there is where none is known."""
    window = Period(asked.window_start, asked.window_start + WINDOW)
    await recall_lines(connection, asked.entity_id, [window], cut_off.batch_seq)
    costs = await evidence.find_window_costs(
        connection,
        entity_id=asked.entity_id,
        scope=asked.scope,
        window_start=asked.window_start,
        batch_seq=cut_off.batch_seq,
    )
    lines = [line for line in costs if asked.names(line)]
    if not lines:
        await _refuse(connection, asked, costs, cut_off.batch_seq)
    since, until = asked.window_start, asked.window_start + WINDOW
    # Inputs as the allocation knew them, which drew its own cut-off earlier.
    known = max(line.known_batch_seq for line in lines)
    entity = await find_entity(connection, asked.entity_id)
    factory = await load_factory(connection, entity, since=since, until=until, batch_seq=known)
    served = _served(factory, asked.scope, since)
    gpus = served.gpu_uuids
    meters = await meter.find_meter_windows(
        connection, gpu_uuids=gpus, since=since, until=until, batch_seq=cut_off.batch_seq
    )
    readings = await meter.find_readings(
        connection, gpu_uuids=gpus, since=since, until=until, batch_seq=known
    )
    site = served.asset.facility_id if served.asset else None
    uplifts = [u for u in valid_at(factory.uplifts, since) if u.facility_id == site]
    pools = await evidence.find_window_pools(
        connection, scope=asked.scope, window_start=since, batch_seq=cut_off.batch_seq
    )
    return CostEvidence(
        asked=asked,
        cut_off=cut_off,
        lines=tuple(lines),
        pools=tuple(pools),
        meters=meters,
        readings=readings,
        activity=await _activity(connection, factory, served.deployment, since, known),
        deployment=served.deployment,
        asset=served.asset,
        uplift=uplifts[0] if uplifts else None,
        prices=tuple(_prices(factory, site, since, until)),
        asset_history=factory.history_of(served.asset) if served.asset else (),
        estimates=await _estimates(connection, factory, served.deployment, meters, known),
    )


async def _refuse(
    connection: Connection, asked: AskedCost, costs: Sequence[WindowCost], batch_seq: int
) -> NoReturn:
    """Say that no such line is known, and what is."""
    at = f"{asked.window_start:%Y-%m-%dT%H:%MZ}"
    if costs:
        there = [_describe(line) for line in costs]
        raise NotFoundError(
            f"{asked.scope} has no such cost line at {at}.", _there_are(there), asked.scope
        )
    scopes = await evidence.list_scopes(
        connection,
        entity_id=asked.entity_id,
        window_start=asked.window_start,
        batch_seq=batch_seq,
    )
    wrong = f"No cost of {asked.scope} is known at {at}."
    if scopes:
        raise NotFoundError(wrong, _there_are(scopes), asked.scope)
    span = await evidence.find_cost_span(connection, entity_id=asked.entity_id, batch_seq=batch_seq)
    if span:
        first, last = (f"{each:%Y-%m-%dT%H:%MZ}" for each in span)
        remedy = f"What {asked.entity_id} costs is known from {first} to {last}."
        raise NotFoundError(wrong, remedy, asked.scope)
    await find_entity(connection, asked.entity_id)
    raise NotFoundError(wrong, "Allocate first: tokenledger allocate.", asked.scope)


def _describe(line: WindowCost) -> str:
    return f"usage of key {line.usage_key_id}" if line.usage_key_id else line.line


def _there_are(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return f"There are: {', '.join(names[:NAMED_MAX])}{more}."


def _served(factory: Factory, scope: str, moment: datetime) -> ServedBy:
    kind, _, name = scope.partition(":")
    assets = {asset.asset_id: asset for asset in valid_at(factory.assets, moment)}
    if kind == "deployment":
        for deployment in valid_at(factory.deployments, moment):
            if deployment.deployment_id == name:
                return ServedBy(deployment, assets.get(deployment.asset_id), deployment.gpu_uuids)
    if kind == "gpu":
        home = factory.homes.get(name)
        return ServedBy(None, assets.get(home.asset_id or "") if home else None, [name])
    return ServedBy(None, assets.get(name), [])


async def _estimates(
    connection: Connection,
    factory: Factory,
    deployment: Deployment | None,
    meters: Sequence[meter.GpuWindow],
    batch_seq: int,
) -> Sequence[GpuEstimate]:
    if deployment is None or not any(BY_WEIGHTS in each.findings for each in meters):
        return ()
    window = meters[0].window_start
    async with connection.transaction(isolation="repeatable_read"):
        return await list_estimates(connection, factory, deployment, window, batch_seq)


def _prices(
    factory: Factory, site: str | None, since: datetime, until: datetime
) -> Sequence[PowerPrice]:
    parts = ((price, *clip(price, (since, until))) for price in factory.prices)
    return [price for price, start, end in parts if price.facility_id == site and start < end]


async def _activity(
    connection: Connection,
    factory: Factory,
    deployment: Deployment | None,
    since: datetime,
    batch_seq: int,
) -> Sequence[SharedWork]:
    if deployment is None:
        return ()
    rows = await cost.find_activity(connection, windows=[since], batch_seq=batch_seq)
    engines = {row.engine_key_id for row in rows}
    keys = await cost.find_engine_keys(connection, engine_key_ids=engines)
    serving = ServingDeployments(valid_at(factory.deployments, since))
    return [
        SharedWork(keys[row.engine_key_id].engine_instance, row)
        for row in rows
        if deployment in serving.of(keys[row.engine_key_id], row.entity_id)
    ]


def to_json(traced: CostEvidence) -> dict[str, Any]:
    """Everything, energy in integer mJ; 64-bit ids as text, which every reader can hold."""
    return {
        "entity_id": traced.asked.entity_id,
        "scope": traced.asked.scope,
        "since": traced.asked.window_start,
        "until": traced.asked.window_start + WINDOW,
        "cut_off_id": traced.cut_off.cut_off_id,
        "currency": traced.lines[0].currency,
        "lines": [_line_json(line) for line in traced.lines],
        "pools": [
            {"kind": pool.kind, "amount": pool.amount, "revision": pool.revision}
            for pool in traced.pools
        ],
        "meters": [_meter_json(each) for each in traced.meters],
        "estimates": [each._asdict() for each in traced.estimates],
        "readings": traced.readings,
        "activity": [_work_json(each) for each in traced.activity],
        "deployment": traced.deployment,
        "asset": traced.asset,
        "asset_history": traced.asset_history,
        "uplift": traced.uplift,
        "prices": traced.prices,
    }


def _line_json(line: WindowCost) -> dict[str, Any]:
    return {
        "line": line.line,
        "usage_key": str(line.usage_key_id) if line.usage_key_id else None,
        "customer_id": line.customer_id,
        "customer_ref": line.customer_ref,
        "agent_id": line.agent_id,
        "tier": line.tier,
        "model": line.model,
        "revision": line.revision,
        "cut_off_id": line.cut_off_id,
        "weight_version": line.weight_version,
        "gpu_terms": line.gpu_terms,
        "busy_s": line.busy_s,
        "device_metered_mj": line.device_metered_mj,
        "device_estimated_mj": line.device_estimated_mj,
        "host_mj": line.host_mj,
        "overhead_mj": line.overhead_mj,
        "device_cost": line.device_cost,
        "overhead_cost": line.overhead_cost,
        "gpu_cost": line.gpu_cost,
        "cost": total([line.device_cost, line.overhead_cost, line.gpu_cost]),
    }


def _meter_json(window: meter.GpuWindow) -> dict[str, Any]:
    return {name: value for name, value in window._asdict().items() if name != "window_start"}


def _work_json(work: SharedWork) -> dict[str, Any]:
    activity = work.activity
    return {
        "usage_key": str(activity.usage_key_id),
        "uncached": activity.uncached,
        "cache_read": activity.cache_read,
        "cache_write": activity.cache_write,
        "output": activity.output,
        "engine_instance": work.engine_instance,
    }
