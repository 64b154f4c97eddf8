"""Delivers the demo's events the way a factory does: HTTP for usage, the collector for energy."""

import csv
import gzip
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ledger.demo import own_fleet
from ledger.domain.errors import UnavailableError
from ledger.wire.batch import Batch, BatchHeader
from ledger.wire.ndjson import batch_events, split_events

Reading = tuple[int, datetime, str, int]


@dataclass(frozen=True, slots=True)
class Ledger:
    """A serving ledger and a key that may send to it."""

    host: str
    port: int
    key: str

    def send(self, body: bytes, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """POST one body of NDJSON; UnavailableError where the ledger does not take it.

        422 with items is an answer too: each of them was refused, and is kept aside.
        """
        connection = http.client.HTTPConnection(self.host, self.port, timeout=120)
        sent = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/x-ndjson"}
        try:
            connection.request("POST", "/v1/events", body=body, headers={**sent, **(headers or {})})
            reply = connection.getresponse()
            content = reply.read()
        finally:
            connection.close()
        if reply.status != 200 and b'"items":' not in content:
            raise UnavailableError(f"The ledger answered {reply.status}: {content[:300]!r}.")
        answer: dict[str, Any] = json.loads(content)
        return answer

    def send_keyed(self, events: Iterable[dict[str, Any]]) -> Iterator[int]:
        """Send events by their own ids; yields how many each body had."""
        for body, count in split_events(events):
            self.send(body)
            yield count

    def send_batch(self, batch: Batch) -> dict[str, Any]:
        """Send a numbered batch."""
        return self.send(batch.body, batch.header.to_fields())


def usage_batches(events: Iterable[dict[str, Any]], *, first: int = 1) -> list[Batch]:
    """Numbered batches of the gateway, from sequence `first` on."""
    header = BatchHeader(
        source=own_fleet.SOURCE,
        producer=own_fleet.PRODUCER,
        epoch=own_fleet.EPOCH,
        sequence=first,
        count=1,
    )
    return list(batch_events(events, first=header, max_bytes=512 * 1024))


def write_recording(readings: Iterable[Reading], path: Path) -> int:
    """Write counters as a recording the collector can replay; returns how many."""
    count = 0
    with gzip.open(path, "wt", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("gpu_uuid", "epoch", "sampled_at", "energy_mj"))
        for gpu, sampled_at, epoch, energy_mj in readings:
            moment = sampled_at.isoformat().replace("+00:00", "Z")
            writer.writerow((own_fleet.GPUS[gpu], epoch, moment, energy_mj))
            count += 1
    return count


def run_collector(ledger: Ledger, recording: Path, folder: Path) -> None:
    """Run the collector daemon as a process of its own until the recording is delivered."""
    settings = {
        "SOURCE": own_fleet.ENERGY_SOURCE,
        "PRODUCER": "gpu-host-1",
        "SPOOL_DIR": str(folder / "spool"),
        "INTERVAL_S": "0.05",
        "NVML": "off",
        "REPLAY_SPEED": "0",
        "DRAIN_S": "120",
        "HTTP__URL": f"http://{ledger.host}:{ledger.port}",
        "HTTP__API_KEY": ledger.key,
    }
    command = [sys.executable, "-m", "ledger.cli", "collect", "--exit-when-done"]
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        [*command, "--replay", str(recording)],
        env={**os.environ, **{f"TOKENLEDGER_COLLECT_{k}": v for k, v in settings.items()}},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise UnavailableError(f"The collector ended with {done.returncode}: {done.stderr[-500:]}")
