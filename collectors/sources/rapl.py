"""RAPL to energy of a host's CPUs and memory, from the kernel's powercap files.

The counters wrap at a range of their own, after a quarter of an hour at full load: what was used
is added up from reading to reading. Packages and the memory beside them are summed; `psys` is the
whole of a machine and is taken alone where there is one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from collectors.errors import SourceError
from collectors.reading import GpuEnergyReading
from collectors.source_settings import SourceSettings
from collectors.sources.host_clock import since_boot_us
from collectors.sources.source import SourceSample
from ledger.wire import meter_reasons as reasons

POWERCAP = Path("/sys/class/powercap")
# No package draws more: a longer silence may hide a whole turn of its counter, and a counter that
# would have drawn more did not turn over but began again, as after a suspend.
PACKAGE_W_MAX = 1_000
WHOLE, PARTS = "psys", ("package", "dram")


@dataclass(slots=True)
class Zone:
    """A counter in microjoules that turns over at its range."""

    path: Path
    range_uj: int
    last_uj: int | None = None
    last_us: int = 0

    def grown_uj(self, at_us: int) -> int | None:
        """What was used since the last reading; None where it may have turned over unseen, or began
        again."""
        now_uj = int((self.path / "energy_uj").read_text(encoding="ascii"))
        before, since, self.last_uj, self.last_us = self.last_uj, self.last_us, now_uj, at_us
        if before is None:
            return 0
        most_uj = (at_us - since) * PACKAGE_W_MAX
        grown_uj = (now_uj - before) % (self.range_uj + 1)
        return grown_uj if grown_uj <= most_uj <= self.range_uj else None


@dataclass(slots=True)
class RaplSource:
    """A host's CPUs and memory, as one meter."""

    meter: str
    zones: tuple[Zone, ...]
    name: str = "rapl"
    finished: bool = False
    _used_uj: int = 0
    _life: int = 0
    _began_us: int = field(default_factory=since_boot_us)

    def sample(self, now: datetime, at_us: int | None = None) -> SourceSample:
        """Read every zone once."""
        moment = since_boot_us() if at_us is None else at_us
        try:
            grown = [zone.grown_uj(moment) for zone in self.zones]
        except PermissionError as error:
            why = f"rapl: {error}; let the collector read it, as root or by a udev rule"
            raise SourceError(why, reason=reasons.NO_PERMISSION, gpu_uuid=self.meter) from error
        except (OSError, ValueError) as error:
            raise SourceError(f"rapl: {error}", gpu_uuid=self.meter) from error
        known = [joules for joules in grown if joules is not None]
        if len(known) < len(grown):
            self._used_uj, self._life = 0, self._life + 1
        else:
            self._used_uj += sum(known)
        reading = GpuEnergyReading(
            gpu_uuid=self.meter,
            epoch=f"rapl.{self._began_us}.{self._life}",
            energy_mj=self._used_uj // 1_000,
            sampled_at=now,
            method="rapl",
        )
        return SourceSample((reading,))

    def close(self) -> None:
        """Nothing is held."""


def open_rapl(settings: SourceSettings) -> RaplSource:
    """The zones under `path`, /sys/class/powercap unless it says another."""
    zones = tuple(_zones(settings.path or POWERCAP))
    if not zones:
        raise SourceError("rapl: this host has no RAPL zones", reason=reasons.NOT_SUPPORTED)
    return RaplSource(settings.meter, zones)


def _zones(folder: Path) -> Iterator[Zone]:
    named = {path: _name(path) for path in sorted(folder.glob("intel-rapl:*"))}
    whole = [path for path, name in named.items() if name.startswith(WHOLE)]
    for path, name in named.items():
        if path in whole or (not whole and name.startswith(PARTS)):
            range_uj = int((path / "max_energy_range_uj").read_text(encoding="ascii"))
            yield Zone(path, range_uj)


def _name(path: Path) -> str:
    try:
        return (path / "name").read_text(encoding="ascii").strip()
    except OSError:
        return ""
