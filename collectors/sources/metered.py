"""One meter's numbers as readings: an energy counter as it is, power integrated."""

from dataclasses import dataclass, field
from datetime import datetime

from collectors.reading import EnergyMethod, GpuEnergyReading
from collectors.source_settings import SourceSettings
from collectors.sources.host_clock import silence_of, since_boot_us
from collectors.sources.integral import PowerIntegral


@dataclass(slots=True)
class MeterReadings:
    """The life of one meter in this process; one that only says power is integrated, estimated."""

    meter: str
    integral: PowerIntegral
    began_us: int = field(default_factory=since_boot_us)

    @classmethod
    def of(cls, settings: SourceSettings) -> "MeterReadings":
        """The meter that a source's settings name, read as often as they say."""
        return cls(settings.meter, PowerIntegral(silence_of(settings.interval_s)))

    def counter(
        self, energy_mj: int, now: datetime, *, method: EnergyMethod, power_mw: int | None = None
    ) -> GpuEnergyReading:
        """A reading of a counter that lives on where this process ends."""
        return GpuEnergyReading(
            gpu_uuid=self.meter,
            epoch=method,
            energy_mj=energy_mj,
            power_mw=power_mw,
            sampled_at=now,
            method=method,
        )

    def power(self, power_mw: int, now: datetime, at_us: int) -> GpuEnergyReading:
        """What was used since this process began, by the power read until now."""
        return GpuEnergyReading(
            gpu_uuid=self.meter,
            epoch=f"integral.{self.began_us}",
            energy_mj=self.integral.add(power_mw, at_us),
            power_mw=power_mw,
            sampled_at=now,
            method="power_integral",
            quality="estimated",
        )
