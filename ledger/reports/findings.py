"""What was noticed about an entity's meters and told of them, by reason, and what it means."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Unpack

from ledger.domain.cost.factory import Factory
from ledger.domain.cost.gap import Gap
from ledger.domain.energy.finding import MeterFinding, MeterGap
from ledger.store.cost import margin
from ledger.store.queries import Connection
from ledger.store.within import Within
from ledger.wire.meter_reasons import SOURCES

READINGS = "energy readings"


async def list_findings(
    connection: Connection, factory: Factory, **within: Unpack[Within]
) -> tuple[MeterFinding, ...]:
    """What was noticed about the entity's GPUs in [since, until) as known at a cut-off."""
    own = _own_gpus(factory)
    return tuple(await margin.list_meter_findings(connection, gpu_uuids=own, **within))


async def list_meter_gaps(
    connection: Connection, factory: Factory, *, alone: bool = False, **within: Unpack[Within]
) -> tuple[MeterGap, ...]:
    """What collectors told of the entity's meters in [since, until) as known at a cut-off, and of
    sources that named no meter, which may be anybody's, unless it is asked `alone`."""
    asked = [*_own_gpus(factory), *sorted(factory.beside)]
    asked += () if alone else SOURCES
    return tuple(await margin.list_meter_gaps(connection, gpu_uuids=asked, **within))


def _own_gpus(factory: Factory) -> list[str]:
    entity_id = factory.entity.entity_id
    own = {gpu for gpu, home in factory.homes.items() if home.entity_id == entity_id}
    own |= {gpu for d in factory.deployments if d.entity_id == entity_id for gpu in d.gpu_uuids}
    return sorted(own)


async def with_reasons(
    connection: Connection, gaps: Sequence[Gap], factory: Factory, **within: Unpack[Within]
) -> list[Gap]:
    """Gaps of readings where some came: why they say no energy, in place of asking for more."""
    lacking = sorted({gap.subject.removeprefix("GPU ") for gap in gaps if gap.kind == READINGS})
    if not lacking:
        return list(gaps)
    came = await margin.count_gpu_readings(connection, gpu_uuids=lacking, **within)
    reasons: dict[str, list[str]] = {}
    for finding in await list_findings(connection, factory, **within):
        reasons.setdefault(finding.gpu_uuid, []).append(finding.reason)
    told: dict[str, list[MeterGap]] = {}
    for told_gap in await list_meter_gaps(connection, factory, **within):
        told.setdefault(told_gap.gpu_uuid, []).append(told_gap)
    return [_explained(gap, came, reasons, told) for gap in gaps]


def _explained(
    gap: Gap,
    came: Mapping[str, int],
    reasons: Mapping[str, Sequence[str]],
    told: Mapping[str, Sequence[MeterGap]],
) -> Gap:
    gpu = gap.subject.removeprefix("GPU ")
    if gap.kind != READINGS:
        return gap
    then = [
        event for event in told.get(gpu, ()) if event.since < gap.until and event.until > gap.since
    ]
    said = {event.reason: event.meaning for event in then}
    if not came.get(gpu):
        return _as_told(gap, said)
    why = ", ".join(dict.fromkeys([*reasons.get(gpu, ()), *said]))
    return Gap(
        "energy",
        f"GPU {gpu} ({came[gpu]:,} readings came in the period;"
        f" {why or 'fewer than two that follow each other'})",
        gap.since,
        gap.until,
        "look at `report coverage` for what was noticed about the meter, and mend it there",
    )


def _as_told(gap: Gap, said: Mapping[str, str]) -> Gap:
    """A gap without a reading in the period, with the reasons its collector gave."""
    if not said:
        return gap
    remedy = "; ".join(f"{reason}: {meaning}" for reason, meaning in said.items())
    return replace(
        gap, subject=f"{gap.subject} ({', '.join(said)})", remedy=f"mend the meter ({remedy})"
    )


def to_json(items: Sequence[MeterFinding]) -> list[dict[str, object]]:
    """Every finding."""
    return [
        {
            "gpu_uuid": each.gpu_uuid,
            "reason": each.reason,
            "meaning": each.meaning,
            "windows": each.windows,
            "first_window": each.first_window,
            "last_window": each.last_window,
        }
        for each in items
    ]


def to_lines(items: Sequence[MeterFinding]) -> list[str]:
    """A line for each finding."""
    return [
        f"Noticed at GPU {each.gpu_uuid}: {each.reason} in {each.windows:,} quarter"
        f" hour{'s' if each.windows != 1 else ''} from"
        f" {each.first_window:%Y-%m-%dT%H:%MZ} to {each.last_window:%Y-%m-%dT%H:%MZ}"
        + (f": {each.meaning}" if each.meaning != each.reason else "")
        for each in items
    ]


def gaps_to_json(told: Sequence[MeterGap]) -> list[dict[str, object]]:
    """Everything that collectors told."""
    return [
        {
            "gpu_uuid": each.gpu_uuid,
            "reason": each.reason,
            "meaning": each.meaning,
            "since": each.since,
            "until": each.until,
            "detail": each.detail,
            "source": each.source,
        }
        for each in told
    ]


def gaps_to_lines(told: Sequence[MeterGap]) -> list[str]:
    """A line for each thing that collectors told."""
    return [
        f"Told of GPU {each.gpu_uuid} by {each.source}: {each.reason} {_stretch(each)}"
        + (f": {each.meaning}" if each.meaning != each.reason else "")
        for each in told
    ]


def _stretch(told: MeterGap) -> str:
    since = f"{told.since:%Y-%m-%dT%H:%M:%SZ}"
    if told.since == told.until:
        return f"at {since}"
    return f"from {since} to {told.until:%Y-%m-%dT%H:%M:%SZ}"
