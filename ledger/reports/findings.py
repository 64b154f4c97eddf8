"""What was noticed about an entity's meters, by reason, and what it means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from ledger.domain.cost.factory import Factory
from ledger.domain.cost.gap import Gap
from ledger.store.cost import margin
from ledger.store.queries import Connection

READINGS = "energy readings"
# A reason without words of its own is shown as it is called.
MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "counter_reset": "the counter began again; what it showed then is booked as estimated",
        "epoch_changed": "the collector began another epoch of the counter",
        "counter_jump": "the counter rose by more than the board can draw; booked as nothing",
        "counter_frozen": "the counter stood still while the board drew power",
        "power_disagrees": "the counter rose by what the board's own power does not explain",
        "counter_too_slow": "the counter rose by less than any board draws; does it count joules?",
        "unit_changed": "the counter fell to a thousandth: joules for millijoules; not booked",
        "readings_disagree": "readings that contradict the others of their GPU; left out",
        "gap": "too long between two readings; estimated",
    }
)


@dataclass(frozen=True, slots=True)
class MeterFinding:
    """A reason that was noticed in so many quarter hours of a GPU, from the first to the last."""

    gpu_uuid: str
    reason: str
    windows: int
    first_window: datetime
    last_window: datetime

    @property
    def meaning(self) -> str:
        """The reason in words."""
        return MEANINGS.get(self.reason, self.reason)


async def list_findings(
    connection: Connection, factory: Factory, **within: Any
) -> tuple[MeterFinding, ...]:
    """What was noticed about the entity's GPUs in [since, until) as known at a cut-off."""
    entity_id = factory.entity.entity_id
    own = {gpu for gpu, home in factory.homes.items() if home.entity_id == entity_id}
    own |= {gpu for d in factory.deployments if d.entity_id == entity_id for gpu in d.gpu_uuids}
    rows = await margin.list_meter_findings(connection, gpu_uuids=sorted(own), **within)
    return tuple(MeterFinding(**row) for row in rows)


async def with_reasons(
    connection: Connection, gaps: Sequence[Gap], factory: Factory, **within: Any
) -> list[Gap]:
    """Gaps of readings where some came: why they say no energy, in place of asking for more."""
    lacking = sorted({gap.subject.removeprefix("GPU ") for gap in gaps if gap.kind == READINGS})
    if not lacking:
        return list(gaps)
    came = await margin.count_gpu_readings(connection, gpu_uuids=lacking, **within)
    reasons: dict[str, list[str]] = {}
    for found in await list_findings(connection, factory, **within):
        reasons.setdefault(found.gpu_uuid, []).append(found.reason)
    return [_explained(gap, came, reasons) for gap in gaps]


def _explained(gap: Gap, came: Mapping[str, int], reasons: Mapping[str, Sequence[str]]) -> Gap:
    gpu = gap.subject.removeprefix("GPU ")
    if gap.kind != READINGS or not came.get(gpu):
        return gap
    why = ", ".join(reasons.get(gpu, ())) or "fewer than two that follow each other"
    return Gap(
        "energy",
        f"GPU {gpu} ({came[gpu]:,} readings came in the period; {why})",
        gap.since,
        gap.until,
        "look at `report coverage` for what was noticed about the meter, and mend it there",
    )


def to_json(found: Sequence[MeterFinding]) -> list[dict[str, Any]]:
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
        for each in found
    ]


def to_lines(found: Sequence[MeterFinding]) -> list[str]:
    """A line for each finding."""
    return [
        f"Noticed at GPU {each.gpu_uuid}: {each.reason} in {each.windows:,} quarter hours from"
        f" {each.first_window:%Y-%m-%dT%H:%MZ} to {each.last_window:%Y-%m-%dT%H:%MZ}"
        + (f": {each.meaning}" if each.meaning != each.reason else "")
        for each in found
    ]
