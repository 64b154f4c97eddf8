"""Runs in a process of its own: samples a watched NvmlSource at each time given, and prints it."""

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from collectors.errors import CollectError, SourceError
from collectors.reading import MeterGapReading
from collectors.sources.nvml import NvmlSource
from collectors.sources.watch import WatchedSource

START = datetime(1970, 1, 1, tzinfo=UTC)


class Clock:
    """The stub's clock, and the wall's beside it."""

    def __init__(self) -> None:
        self.now_ms = 0

    def set(self, at_ms: int) -> datetime:
        """Move the stub's clock."""
        self.now_ms = at_ms
        Path(os.environ["NVML_STUB_NOW"]).write_text(str(at_ms), encoding="ascii")
        return START + timedelta(milliseconds=at_ms)

    def load(self) -> str:
        """The driver's load, another one from NVML_STUB_RELOADED_MS on."""
        reloaded_ms = os.environ.get("NVML_STUB_RELOADED_MS")
        return "load-1" if reloaded_ms is None or self.now_ms < int(reloaded_ms) else "load-2"

    def since_boot_us(self) -> int:
        """The time since the stub's boot."""
        return self.now_ms * 1_000


def sample_at(source: WatchedSource, now: datetime) -> dict[str, Any]:
    """One round as plain values."""
    sample = source.sample(now)
    return {
        "readings": {
            reading.gpu_uuid: {
                "energy_mj": reading.energy_mj,
                "power_mw": reading.power_mw,
                "epoch": reading.epoch,
                "scope": reading.scope,
                "mig": reading.mig,
                "method": reading.method,
                "sampled_at": reading.sampled_at.isoformat(),
            }
            for reading in sample.energy
        },
        "gaps": [
            [
                gap.gpu_uuid,
                gap.reason,
                (gap.since - START) // timedelta(milliseconds=1),
                (gap.until - START) // timedelta(milliseconds=1),
            ]
            for gap in sample.readings
            if isinstance(gap, MeterGapReading)
        ],
        "faults": [f"{type(fault).__name__}: {fault}" for fault in sample.faults],
    }


def main(state_path: str, boot_id: str, times: list[int]) -> None:
    """Open once, sample at every time, close."""
    rounds: list[dict[str, Any]] = []
    clock = Clock()
    clock.set(times[0])
    source = NvmlSource(
        boot_id=boot_id,
        load=clock.load,
        listed=lambda: tuple(os.environ.get("NVML_STUB_LISTED", "").split()),
        clock=clock.since_boot_us,
    )
    watched = WatchedSource(source, Path(state_path), clock.since_boot_us, boot_id)
    try:
        try:
            source.open()
        except SourceError as error:
            source.miss(error)
        rounds.extend(sample_at(watched, clock.set(at_ms)) for at_ms in times)
        watched.close()
    except CollectError as error:
        rounds.append({"error": type(error).__name__, "text": str(error)})
    print(json.dumps(rounds))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], [int(text) for text in sys.argv[3:]])
