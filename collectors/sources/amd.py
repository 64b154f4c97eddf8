"""AMD's amdsmi to energy readings, where it is installed: it comes with the driver's tools.

The accumulator counts in steps of a resolution in microjoules; on some boards it stands still after
boot, which the ledger sees from the power beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from importlib import import_module
from types import ModuleType

from collectors.errors import SourceError
from collectors.reading import GpuEnergyReading
from collectors.source_settings import SourceSettings
from collectors.sources.host_clock import driver_load
from collectors.sources.source import SourceSample
from ledger.wire import meter_reasons as reasons

ENERGY_NAMES = ("energy_accumulator", "power")
# All bits set stand for none: of 16 bits, of 32 and of 64.
BLANKS = frozenset({2**16 - 1, 2**32 - 1, 2**64 - 1})
POWER_NAMES = ("current_socket_power", "average_socket_power", "socket_power")


@dataclass(slots=True)
class AmdSource:
    """All boards that amdsmi knows."""

    smi: ModuleType
    name: str = "amd"
    finished: bool = False
    _uuids: dict[int, str] = field(default_factory=dict)

    def sample(self, now: datetime) -> SourceSample:
        """Read every board once."""
        readings: list[GpuEnergyReading] = []
        faults: list[SourceError] = []
        load = driver_load("amdgpu")
        for number, handle in enumerate(self._call("amdsmi_get_processor_handles")):
            try:
                readings.append(self._read(number, handle, now, load))
            except SourceError as error:
                error.gpu_uuid = self._uuids.get(number)
                faults.append(error)
        return SourceSample(tuple(readings), tuple(faults))

    def close(self) -> None:
        """Let the library go."""
        self._call("amdsmi_shut_down")

    def _read(
        self, number: int, handle: object, now: datetime, load: str | None
    ) -> GpuEnergyReading:
        if number not in self._uuids:
            self._uuids[number] = str(self._call("amdsmi_get_gpu_device_uuid", handle))
        counted = self._call("amdsmi_get_energy_count", handle)
        steps = _first(counted, ENERGY_NAMES)
        if steps is None:
            raise SourceError("amd: no energy counter", reason=reasons.NOT_SUPPORTED)
        power_w = _first(self._call("amdsmi_get_power_info", handle), POWER_NAMES)
        resolution_uj = _first(counted, ("counter_resolution",)) or Decimal(1)
        return GpuEnergyReading(
            gpu_uuid=self._uuids[number],
            epoch="amdsmi",
            energy_mj=int(steps * resolution_uj / 1_000),
            power_mw=None if power_w is None else int(power_w * 1_000),
            sampled_at=now,
            method="amd_counter",
            driver_load=load,
        )

    def _call(self, name: str, *arguments: object) -> "list[object] | Mapping[str, object]":
        try:
            answer: list[object] | Mapping[str, object] = getattr(self.smi, name)(*arguments)
        except self.smi.AmdSmiException as error:
            raise SourceError(f"amd: {name} failed: {error}") from error
        return answer


def open_amd(_settings: SourceSettings) -> AmdSource:
    """The library of this host; SourceError where there is none."""
    try:
        smi = import_module("amdsmi")
    except (ImportError, OSError, KeyError) as error:
        why = f"amd: amdsmi is not installed ({error}); it comes with ROCm"
        raise SourceError(why, reason=reasons.LIBRARY_MISSING) from error
    source = AmdSource(smi)
    try:
        smi.amdsmi_init()
    except smi.AmdSmiException as error:
        why = f"amd: {error}"
        raise SourceError(why, reason=reasons.DRIVER_MISSING) from error
    return source


def _first(said: object, names: tuple[str, ...]) -> Decimal | None:
    """The first of these that is a number; a library says N/A in words, or with all bits set."""
    if not isinstance(said, Mapping):
        return None
    for name in names:
        value = said.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or value in BLANKS:
            continue
        if value >= 0:
            return Decimal(str(value))
    return None
