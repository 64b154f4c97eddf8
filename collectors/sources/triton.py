"""Triton's `nv_energy_consumption`: joules of each GPU since the server was started."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from collectors.errors import ScrapeError, SourceError
from collectors.exposition import parse_exposition
from collectors.fetch import Page
from collectors.reading import GpuEnergyReading
from collectors.source_settings import SourceSettings
from collectors.sources.pages import open_page
from collectors.sources.source import SourceSample
from ledger.wire import meter_reasons as reasons
from ledger.wire.units import MJ_PER_J

ENERGY, POWER = "nv_energy_consumption", "nv_gpu_power_usage"


@dataclass(slots=True)
class TritonSource:
    """The GPUs that one Triton server says it sees."""

    page: Page
    timeout_s: float
    name: str = "triton"
    finished: bool = False

    def sample(self, now: datetime) -> SourceSample:
        """Fetch and read once."""
        try:
            text = self.page.fetch(self.timeout_s)
        except ScrapeError as error:
            raise SourceError(str(error), reason=reasons.SOURCE_SILENT) from error
        return SourceSample(read_triton(text, now))

    def close(self) -> None:
        """Let the connection go."""
        self.page.close()


def open_triton(settings: SourceSettings) -> TritonSource:
    """The server's metrics at `url`."""
    return TritonSource(open_page(settings, "/metrics"), float(settings.timeout_s))


def read_triton(text: str, now: datetime) -> tuple[GpuEnergyReading, ...]:
    """The readings of a page; SourceError where it has none."""
    values: dict[str, dict[str, Decimal]] = {ENERGY: {}, POWER: {}}
    for sample in parse_exposition(text).samples:
        uuid, value = sample.labels.get("gpu_uuid"), Decimal(sample.value)
        if uuid and sample.name in values and value.is_finite() and value >= 0:
            values[sample.name][uuid] = value
    if not values[ENERGY]:
        raise SourceError("triton: the page has no energy", reason=reasons.NOT_SUPPORTED)
    return tuple(
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
