"""The life of each energy counter: a name that changes only when the counter starts again.

A counter restarts on reboot (the boot id changes) and on driver reload or GPU reset (it falls). The
last value seen is kept in a file, so that a fall is noticed across a restart of the collector too;
it need not survive a power cut, because that is a new boot.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

BOOT_ID_PATH = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class CounterLife:
    """One counter's present life: its epoch and the highest value seen in it, in mJ."""

    epoch: str
    energy_mj: int


class CounterEpochs:
    """Names the epoch of each reading, remembering across restarts in one small file."""

    def __init__(self, path: Path, *, boot_id: str) -> None:
        self._path = path
        self._boot_id = boot_id
        self._lives = _load(path, boot_id)

    def observe(self, gpu_uuid: str, energy_mj: int, *, now: datetime) -> str:
        """The epoch of this reading: a new one at first sight and whenever the counter fell."""
        life = self._lives.get(gpu_uuid)
        # A lost file starts a new epoch as well: an old name with a fallen counter would lie.
        fresh = life is None or energy_mj < life.energy_mj
        epoch = f"{self._boot_id}.{now:%Y%m%dT%H%M%S.%f}" if fresh else self._lives[gpu_uuid].epoch
        self._lives[gpu_uuid] = CounterLife(epoch, energy_mj)
        return epoch

    def save(self) -> None:
        """Replace the file as a whole; call it before readings leave the process."""
        kept = {
            "boot_id": self._boot_id,
            "counters": {
                uuid: {"epoch": life.epoch, "energy_mj": life.energy_mj}
                for uuid, life in self._lives.items()
            },
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(self._path.name + ".new")
        draft.write_text(json.dumps(kept, sort_keys=True), encoding="utf-8")
        draft.replace(self._path)


def read_boot_id(path: Path = BOOT_ID_PATH) -> str:
    """The kernel's name for this boot."""
    return path.read_text(encoding="ascii").strip()


def _load(path: Path, boot_id: str) -> dict[str, CounterLife]:
    try:
        kept: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if kept["boot_id"] != boot_id:
            return {}
        return {
            uuid: CounterLife(str(life["epoch"]), int(life["energy_mj"]))
            for uuid, life in kept["counters"].items()
        }
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        # Nothing to go on: every counter begins a new epoch, which loses one interval, never a lie.
        return {}
