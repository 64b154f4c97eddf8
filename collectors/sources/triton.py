"""Triton's `nv_energy_consumption`: joules of each GPU since the server was started."""

from datetime import datetime
from decimal import Decimal

from collectors.errors import SourceError
from collectors.exposition import parse_exposition
from collectors.reading import GpuEnergyReading
from collectors.source_settings import SourceSettings
from collectors.sources.pages import PageSource
from collectors.sources.source import SourceSample
from ledger.wire import meter_reasons as reasons
from ledger.wire.units import MJ_PER_J

ENERGY, POWER = "nv_energy_consumption", "nv_gpu_power_usage"


def open_triton(settings: SourceSettings) -> PageSource:
    """The server's metrics at `url`."""
    return PageSource.of(settings, "/metrics", read_triton)


def read_triton(text: str, now: datetime) -> SourceSample:
    """The readings of a page; SourceError where it has none."""
    values: dict[str, dict[str, Decimal]] = {ENERGY: {}, POWER: {}}
    for sample in parse_exposition(text).samples:
        uuid, value = sample.labels.get("gpu_uuid"), Decimal(sample.value)
        if uuid and sample.name in values and value.is_finite() and value >= 0:
            values[sample.name][uuid] = value
    if not values[ENERGY]:
        raise SourceError("triton: the page has no energy", reason=reasons.NOT_SUPPORTED)
    readings = (
        GpuEnergyReading(
            gpu_uuid=uuid,
            epoch=ENERGY,
            energy_mj=int(joules * MJ_PER_J),
            power_mw=int(values[POWER][uuid] * 1_000) if uuid in values[POWER] else None,
            sampled_at=now,
            method="triton",
        )
        for uuid, joules in values[ENERGY].items()
    )
    return SourceSample(tuple(readings))
