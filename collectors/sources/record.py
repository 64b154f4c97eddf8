"""What a collector reads, kept in a file that `replay_file` reads again."""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TextIO

from collectors.errors import SourceError
from collectors.reading import GpuEnergyReading, Reading
from collectors.sources.source import Source, SourceSample
from ledger.wire.rfc3339 import format_rfc3339


@dataclass(slots=True)
class Recording:
    """A source whose readings are written down, a line each, before they are passed on."""

    source: Source
    path: Path
    _file: TextIO | None = None

    @property
    def name(self) -> str:
        """That of the source."""
        return self.source.name

    @property
    def finished(self) -> bool:
        """That of the source."""
        return self.source.finished

    def sample(self, now: datetime) -> SourceSample:
        """One round of the source, written down."""
        sample = self.source.sample(now)
        lines = [json.dumps(recorded(reading)) + "\n" for reading in sample.readings]
        try:
            if self._file is None:
                self._file = self.path.open("a", encoding="utf-8")
            self._file.writelines(lines)
            self._file.flush()
        except OSError as error:
            raise SourceError(f"record {self.path}: {error}") from error
        return sample

    def close(self) -> None:
        """Let the file and the source go."""
        if self._file is not None:
            self._file.close()
        self.source.close()


def recorded(reading: Reading) -> dict[str, object]:
    """The reading as its line."""
    if isinstance(reading, GpuEnergyReading):
        row: dict[str, object] = {
            "gpu_uuid": reading.gpu_uuid,
            "epoch": reading.epoch,
            "sampled_at": format_rfc3339(reading.sampled_at),
            "energy_mj": reading.energy_mj,
            "method": reading.method,
            "quality": reading.quality,
            "scope": reading.scope,
            "mig": reading.mig,
        }
        for name in ("power_mw", "boot_id", "driver_load", "monotonic_us"):
            if getattr(reading, name) is not None:
                row[name] = getattr(reading, name)
        return row
    return {
        "gpu_uuid": reading.gpu_uuid,
        "gap": reading.reason,
        "since": format_rfc3339(reading.since),
        "sampled_at": format_rfc3339(reading.until),
        "detail": reading.detail,
    }
