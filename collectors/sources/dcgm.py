"""dcgm-exporter's page to energy readings; the unit is what the page says it is, never assumed.

Older versions print DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION in mJ; since 4.9 fields have other names
and base units. A slice of a GPU repeats the whole GPU's counter: it is read once.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal

from collectors.errors import SourceError
from collectors.exposition import Sample, parse_exposition
from collectors.reading import GpuEnergyReading
from collectors.source_settings import SourceSettings
from collectors.sources.pages import PageSource
from collectors.sources.source import SourceSample
from collectors.sources.units import JOULE, WATT, scale_of
from ledger.wire import meter_reasons as reasons
from ledger.wire.units import BLANK_VALUE_MIN

ENERGY = re.compile(r"(?i)dcgm\w*energy\w*|\w*gpu\w*energy\w*")
POWER = re.compile(r"(?i)dcgm\w*power_usage\w*|\w*gpu\w*power_usage\w*")
# DCGM's number for no power, a double; its blank energy is the integer that all sources know.
BLANK_W_MIN = 2**47
# OpenMetrics' word for when a counter began, in seconds.
CREATED = "_created"
UUID_LABELS = ("UUID", "uuid", "gpu_uuid")
SLICE_LABELS = ("GPU_I_ID", "gpu_i_id", "gpu_instance_id")
_SAID = re.compile(r"^#\s+(HELP|UNIT)\s+(\S+)\s+(.*)$", re.MULTILINE)


def open_dcgm(settings: SourceSettings) -> PageSource:
    """The exporter at `url`."""
    return PageSource.of(settings, "/metrics", read_dcgm)


def read_dcgm(text: str, now: datetime) -> SourceSample:
    """The readings of a page, and a fault where an energy is there whose unit is not said."""
    said = _said(text)
    energies: dict[str, GpuEnergyReading] = {}
    faults: list[SourceError] = []
    samples = parse_exposition(text).samples
    powers = {
        uuid: mw
        for uuid, sample, mw in _numbers(samples, POWER, WATT, said)
        if mw is not None and Decimal(sample.value) < BLANK_W_MIN
    }
    for uuid, sample, energy_mj in _numbers(samples, ENERGY, JOULE, said):
        if energy_mj is None:
            why = f"dcgm: {sample.name} of {uuid} says no unit, or several; no energy is read of it"
            faults.append(SourceError(why, reason=reasons.UNIT_UNKNOWN, gpu_uuid=uuid))
            continue
        before = energies.get(uuid)
        if before is None or before.energy_mj < energy_mj:
            energies[uuid] = GpuEnergyReading(
                gpu_uuid=uuid,
                epoch=sample.name,
                energy_mj=energy_mj,
                power_mw=powers.get(uuid),
                sampled_at=now,
                method="dcgm",
                mig=any(sample.labels.get(label) for label in SLICE_LABELS),
            )
    if not energies and not faults:
        raise SourceError("dcgm: the page has no energy of any GPU", reason=reasons.NOT_SUPPORTED)
    return SourceSample(tuple(energies.values()), tuple(faults))


def _numbers(
    samples: tuple[Sample, ...],
    wanted: re.Pattern[str],
    unit: str,
    said: Mapping[str, tuple[str, ...]],
) -> Iterator[tuple[str, Sample, int | None]]:
    """(GPU, sample, number in mJ or mW), None where the unit is not known; blank ones left out."""
    for sample in samples:
        uuid = next((sample.labels[n] for n in UUID_LABELS if sample.labels.get(n)), None)
        if uuid is None or not wanted.fullmatch(sample.name) or sample.name.endswith(CREATED):
            continue
        scale = scale_of(unit, sample.name, said.get(sample.name, ()))
        value = Decimal(sample.value)
        if not value.is_finite() or not 0 <= value < BLANK_VALUE_MIN:
            continue
        yield uuid, sample, None if scale is None else int(value * scale)


def _said(text: str) -> Mapping[str, tuple[str, ...]]:
    """What the page says of each family: its UNIT, then its HELP."""
    lines: dict[str, dict[str, str]] = {}
    for word, name, rest in _SAID.findall(text):
        for printed in (name, f"{name}_total"):
            lines.setdefault(printed, {})[word] = rest
    return {
        name: tuple(words[word] for word in ("UNIT", "HELP") if word in words)
        for name, words in lines.items()
    }
