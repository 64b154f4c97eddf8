"""Runs in a process of its own: one life of a collector, on scripted clocks, ended as it is told.

Reads a life as JSON from its standard input; what it reads goes through the watched source and its
state file to a spool on disk, as in the daemon.
"""

import json
import os
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from collectors.errors import SourceError
from collectors.reading import EventDict
from collectors.sources.nvml import NvmlSource
from collectors.sources.watch import WatchedSource
from collectors.spool import Spool

START = datetime(2026, 3, 2, 10, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Life:
    """From start to end of one process: when it reads (true time, in ms) and what clocks say."""

    ticks_ms: list[int]
    folder: str
    producer: str = "one"
    boot_id: str = "boot-1"
    load: str = "load-1"
    booted_ms: int = -36_000_000
    # (from when on, by how much the wall clock is wrong), in ms.
    wrong: list[tuple[int, int]] = field(default_factory=list)
    killed: bool = False

    def wall(self, at_ms: int) -> datetime:
        """What the wall clock says."""
        wrong_ms = [by for since, by in self.wrong if since <= at_ms]
        return START + timedelta(milliseconds=at_ms + (wrong_ms[-1] if wrong_ms else 0))


def main(life: Life) -> None:
    """Read at every tick, then end."""
    folder, now = Path(life.folder), Path(os.environ["NVML_STUB_NOW"])

    def clock_us() -> int:
        return (int(now.read_text()) - life.booted_ms) * 1_000

    now.write_text(str(life.ticks_ms[0]))
    source = NvmlSource(
        boot_id=life.boot_id,
        load=lambda: life.load,
        listed=lambda: tuple(os.environ.get("NVML_STUB_LISTED", "").split()),
        clock=clock_us,
    )
    watched = WatchedSource(source, folder / "nvml.json", clock_us, life.boot_id)
    try:
        source.open()
    except SourceError as error:
        source.miss(error)
    spool = Spool(
        folder, source=f"/hosts/{life.producer}", producer=life.producer, new_epoch=life.ticks_ms[0]
    )
    held: list[EventDict] = []
    for at_ms in life.ticks_ms:
        now.write_text(str(at_ms))
        at = life.wall(at_ms)
        held += [one.to_event(recorded_at=at) for one in watched.sample(at).readings]
        if len(held) > 100 or at_ms == life.ticks_ms[-1]:
            spool.append(held)
            held = []
    if life.killed:
        os._exit(9)
    watched.close()
    spool.close()


if __name__ == "__main__":
    main(Life(**json.load(sys.stdin)))
