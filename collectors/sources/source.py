"""What every place of hardware numbers gives: readings, and faults beside them, not a crash."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from collectors.errors import SourceError
from collectors.reading import GpuEnergyReading, Reading


# Not frozen, as readings are not: two are made in every round.
@dataclass(slots=True)
class SourceSample:
    """One round of readings; each fault names a device that gave none and why."""

    readings: tuple[Reading, ...]
    faults: tuple[SourceError, ...] = ()

    @property
    def energy(self) -> tuple[GpuEnergyReading, ...]:
        """The readings of counters, without what is told of gaps."""
        return tuple(reading for reading in self.readings if isinstance(reading, GpuEnergyReading))


class Source(Protocol):
    """A place of energy readings; `finished` says that it will never give another one."""

    @property
    def name(self) -> str: ...

    @property
    def finished(self) -> bool: ...

    def sample(self, now: datetime) -> SourceSample: ...

    def close(self) -> None: ...
