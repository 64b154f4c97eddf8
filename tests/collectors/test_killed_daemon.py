"""The daemon as it runs, on the scripted library, killed at random: no millijoule more or less."""

import os
import random
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from ledger.domain.energy.counter_course import EnergyReading
from ledger.domain.energy.meter import spans
from ledger.wire.batch import COLUMNAR
from ledger.wire.ndjson import decode_line, iter_lines
from tests.collectors.servers import Receiver, serving
from tests.support.encoded import decode_columnar
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
GPU = "GPU-aaaa"
COLLECT = "from ledger.cli import cli; cli()"


def test_kills_at_random_change_no_energy(stub_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "script").write_text(f"{GPU} 0 power 300000\n")
    receiver, rng = Receiver(), random.Random(0)
    with serving(receiver.answer) as url:
        config = tmp_path / "collector.toml"
        config.write_text(
            f'[collect]\nspool_dir = "{tmp_path}/spool"\nproducer = "h"\nsource = "/hosts/h"\n'
            f'nvml = "on"\ninterval_s = 0.1\n[collect.http]\nurl = "{url}"\napi_key = "k"\n'
        )
        environment = os.environ | {
            "LD_LIBRARY_PATH": str(stub_folder),
            "PYTHONPATH": str(ROOT),
            "NVML_STUB_SCRIPT": str(tmp_path / "script"),
            "NVML_STUB_START_MS": str(time.time_ns() // 1_000_000 - 36_000_000),
        }
        for how in (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
            with subprocess.Popen(
                [sys.executable, "-c", COLLECT, "collect", "--config", str(config)],
                env=environment,
                stderr=subprocess.DEVNULL,
            ) as process:
                wait_for_a_reading(tmp_path / "spool", process)
                time.sleep(rng.uniform(0.1, 1.5))
                process.send_signal(how)
                process.wait(60)
            if how is signal.SIGKILL and rng.random() < 0.5:
                (tmp_path / "spool" / "nvml.json").unlink(missing_ok=True)
    read = readings(receiver)
    found = spans(read)
    grown = max(one.energy_mj for one in read) - min(one.energy_mj for one in read)
    assert grown > 0
    assert sum(span.energy_mj for span in found) == grown
    assert all(span.metered for span in found if span.end_us - span.start_us < 60_000_000)


def wait_for_a_reading(spool: Path, process: "subprocess.Popen[bytes]") -> None:
    """Until this process has begun to read: what it read last is kept with its first round."""
    began = time.time()
    kept = spool / "nvml.json"

    def read() -> bool:
        assert process.poll() is None
        return kept.exists() and kept.stat().st_mtime >= began

    eventually(read, "a reading")


def readings(receiver: Receiver) -> list[EnergyReading]:
    """Every reading that arrived, once."""
    events = [event for batch in receiver.batches for event in events_of(batch)]
    data = {event["id"]: event for event in events if event["type"] == "gpu.energy.v1"}
    return [
        EnergyReading(
            datetime.fromisoformat(event["time"]),
            event["data"]["epoch"],
            event["data"]["energy_mj"],
            power_mw=event["data"]["power_mw"],
            source=event["source"],
            boot_id=event["data"]["boot_id"],
            driver_load=event["data"].get("driver_load"),
            monotonic_us=event["data"]["monotonic_us"],
        )
        for event in data.values()
    ]


def events_of(batch: Any) -> list[dict[str, Any]]:
    """The events of a batch, whichever of the two encodings it has."""
    if batch.header.encoding == COLUMNAR:
        return decode_columnar(batch.body, batch.header)
    return [decode_line(line) for line in iter_lines(batch.body)]
