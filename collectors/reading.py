"""Raw readings of devices and servers, and the CloudEvents they become before they get their place.

The event's `id` and `source` are left out: the spool gives both when it gives the batch its number.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from ledger.wire.limits import COUNTERS, ENERGY, METER_GAP, VALUES_MAX
from ledger.wire.rfc3339 import format_rfc3339

EventDict = dict[str, Any]
# What an entry takes beside its labels, and an event beside its entries, at most.
ENTRY_BYTES, EVENT_BYTES = 256, 2_048
EnergyMethod = Literal[
    "nvml_counter", "dcgm", "triton", "amd_counter", "rapl", "meter", "power_integral"
]
EnergyQuality = Literal["good", "estimated", "suspect"]
EnergyScope = Literal["gpu", "module"]


# Not frozen, though nobody changes one: that takes four times as long to make, of what is made for
# every board in every round.
@dataclass(slots=True, kw_only=True)
class GpuEnergyReading:
    """A GPU's cumulative energy counter in mJ at one instant, within one life of the counter."""

    gpu_uuid: str
    epoch: str
    energy_mj: int
    sampled_at: datetime
    power_mw: int | None = None
    method: EnergyMethod = "nvml_counter"
    quality: EnergyQuality = "good"
    scope: EnergyScope = "gpu"
    mig: bool = False
    boot_id: str | None = None
    driver_load: str | None = None
    monotonic_us: int | None = None

    def to_event(self, *, recorded_at: datetime) -> EventDict:
        """The reading as gpu.energy.v1; its time is when it was sampled."""
        body: dict[str, Any] = {
            "gpu_uuid": self.gpu_uuid,
            "epoch": self.epoch,
            "energy_mj": self.energy_mj,
            "method": self.method,
            "quality": self.quality,
            "scope": self.scope,
            "mig": self.mig,
        }
        for name in ("power_mw", "boot_id", "driver_load", "monotonic_us"):
            value = getattr(self, name)
            if value is not None:
                body[name] = value
        return _event(ENERGY, body, time=self.sampled_at, recorded_at=recorded_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterGapReading:
    """Why a meter gave no reading, or one of another kind, from when to when."""

    gpu_uuid: str
    reason: str
    since: datetime
    until: datetime
    detail: str | None = None

    def to_event(self, *, recorded_at: datetime) -> EventDict:
        """The stretch as meter.gap.v1; its time is how far it has come."""
        body = {
            "gpu_uuid": self.gpu_uuid,
            "reason": self.reason,
            "since": format_rfc3339(self.since),
        }
        if self.detail is not None:
            body["detail"] = self.detail
        return _event(METER_GAP, body, time=self.until, recorded_at=recorded_at)


Reading = GpuEnergyReading | MeterGapReading


# Not frozen, as above: one is made of every series in every scrape.
@dataclass(slots=True, kw_only=True)
class CounterReading:
    """One cumulative counter: canonical name, labels kept from the server, value as printed.

    `raw_name` is what the server calls it; a reader of events has no use for it.
    """

    name: str
    value: str
    raw_name: str
    labels: Mapping[str, str]
    precision_loss: bool = False

    def to_value(self) -> dict[str, object]:
        """The counter as an entry of `values`; labels and the flag appear where there are any."""
        value: dict[str, Any] = {"name": self.name, "value": self.value}
        if self.labels:
            value["labels"] = dict(self.labels)
        if self.precision_loss:
            value["precision_loss"] = True
        return value

    def bytes_most(self) -> int:
        """How long the entry is at most, as JSON: a character may take six."""
        chars = sum(map(len, self.labels)) + sum(map(len, self.labels.values()))
        return ENTRY_BYTES + 10 * len(self.labels) + 6 * chars


@dataclass(frozen=True, slots=True, kw_only=True)
class CountersReading:
    """All counters of one engine instance at one scrape, within one run of it."""

    engine: str
    instance: str
    run_id: str
    scraped_at: datetime
    counters: tuple[CounterReading, ...]
    run_started_at: datetime | None = None

    def parts(self, bytes_max: int) -> list["CountersReading"]:
        """The scrape in as few parts as fit into events of so many bytes, in its order.

        A counter that no such event holds is in none of them.
        """
        parts: list[list[CounterReading]] = [[]]
        bytes_left = 0
        for counter in self.counters:
            needed = counter.bytes_most()
            if needed > bytes_max - EVENT_BYTES:
                continue
            if needed > bytes_left or len(parts[-1]) == VALUES_MAX:
                parts.append([])
                bytes_left = bytes_max - EVENT_BYTES
            parts[-1].append(counter)
            bytes_left -= needed
        return [replace(self, counters=tuple(part)) for part in parts if part]

    def to_event(self, *, recorded_at: datetime) -> EventDict:
        """The scrape as engine.counters.v1; its time is when it was scraped."""
        body: dict[str, Any] = {
            "engine": self.engine,
            "instance": self.instance,
            "run_id": self.run_id,
            "values": [counter.to_value() for counter in self.counters],
        }
        if self.run_started_at is not None:
            body["run_started_at"] = format_rfc3339(self.run_started_at)
        return _event(COUNTERS, body, time=self.scraped_at, recorded_at=recorded_at)


AnyReading = Reading | CountersReading


def _event(kind: str, body: dict[str, Any], *, time: datetime, recorded_at: datetime) -> EventDict:
    return {
        "specversion": "1.0",
        "type": kind,
        "time": format_rfc3339(time),
        "recordedtime": format_rfc3339(recorded_at),
        "datacontenttype": "application/json",
        "data": body,
    }
