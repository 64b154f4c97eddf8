"""What every place of hardware numbers gives: readings, and faults beside them, not a crash."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from collectors.errors import SourceError
from collectors.reading import GpuEnergyReading


@dataclass(frozen=True, slots=True)
class SourceSample:
    """One round of readings; each fault names a device that gave none and why."""

    readings: tuple[GpuEnergyReading, ...]
    faults: tuple[SourceError, ...] = ()


class Source(Protocol):
    """A place of energy readings; `finished` says that it will never give another one."""

    @property
    def name(self) -> str: ...

    @property
    def finished(self) -> bool: ...

    def sample(self, now: datetime) -> SourceSample: ...

    def close(self) -> None: ...
