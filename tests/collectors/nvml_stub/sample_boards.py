"""Runs in a process of its own: samples NvmlSource at each time given and prints what it read."""

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from collectors.errors import CollectError
from collectors.sources.epochs import CounterEpochs
from collectors.sources.nvml import NvmlSource

START = datetime(1970, 1, 1, tzinfo=UTC)


def set_now(at_ms: int) -> datetime:
    """Move the stub's clock."""
    Path(os.environ["NVML_STUB_NOW"]).write_text(str(at_ms), encoding="ascii")
    return START + timedelta(milliseconds=at_ms)


def sample_at(source: NvmlSource, at_ms: int) -> dict[str, Any]:
    """One round as plain values."""
    sample = source.sample(set_now(at_ms))
    return {
        "at_ms": at_ms,
        "readings": {
            reading.gpu_uuid: {
                "energy_mj": reading.energy_mj,
                "power_mw": reading.power_mw,
                "epoch": reading.epoch,
                "scope": reading.scope,
                "mig": reading.mig,
                "sampled_at": reading.sampled_at.isoformat(),
            }
            for reading in sample.readings
        },
        "faults": [f"{type(fault).__name__}: {fault}" for fault in sample.faults],
    }


def main(state_path: str, boot_id: str, times: list[int]) -> None:
    """Open once, sample at every time, close."""
    rounds: list[dict[str, Any]] = []
    set_now(times[0])
    try:
        source = NvmlSource(CounterEpochs(Path(state_path), boot_id=boot_id))
        rounds.extend(sample_at(source, at_ms) for at_ms in times)
        source.close()
    except CollectError as error:
        rounds.append({"error": type(error).__name__, "text": str(error)})
    print(json.dumps(rounds))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], [int(text) for text in sys.argv[3:]])
