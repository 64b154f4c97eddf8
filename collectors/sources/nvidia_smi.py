"""A recording of `nvidia-smi --query-gpu=timestamp,uuid,power.draw --format=csv`, integrated.

Its times are the machine's own without a zone, so that the zone is named in the settings; of an
hour that its clocks showed twice, rows after a fall are of the second. Power is
integrated by the trapezoid rule; a sensor that shows one number for a minute is stuck, and what it
shows is not measured.
"""

import csv
import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from collectors.errors import CollectSettingsError, SourceError
from collectors.reading import GpuEnergyReading, MeterGapReading, Reading
from collectors.source_settings import SourceSettings
from collectors.sources.integral import PowerIntegral, microseconds_of
from collectors.sources.recording import open_recording
from collectors.sources.source import SourceSample
from ledger.wire import meter_reasons as reasons

UUID_COLUMNS = ("uuid", "gpu_uuid")
# What tells one board of a host from another, where no column is its UUID.
BOARD_COLUMNS = ("index", "pci.bus_id", "gpu_bus_id", "serial", "gpu_serial", "name", "gpu_name")
POWER_COLUMNS = ("power.draw", "power.draw.instant", "power.draw.average")
ROWS_PER_SAMPLE = 10_000
STUCK_US = 60_000_000
STUCK_ROWS = 100
# Rows of several boards may stand a little out of order; a clock that is set back falls further.
FALL_US = 600_000_000
_WATTS = re.compile(r"\A\s*([0-9]+(?:\.[0-9]+)?)\s*W?\s*\Z")


@dataclass(slots=True)
class _Sensor:
    integral: PowerIntegral = field(default_factory=PowerIntegral)
    power_mw: int | None = None
    since: datetime | None = None
    rows: int = 0
    stuck_until: datetime | None = None

    def is_stuck(self, power_mw: int, at: datetime) -> bool:
        """Whether it has shown this one number for too long to be a board that runs."""
        if power_mw != self.power_mw or self.since is None:
            self.power_mw, self.since, self.rows = power_mw, at, 0
            self.stuck_until = None
        self.rows += 1
        still_us = microseconds_of(at) - microseconds_of(self.since)
        return still_us >= STUCK_US and self.rows >= STUCK_ROWS


class NvidiaSmiSource:
    """A recording, given as fast as it is asked for."""

    name = "nvidia_smi"

    def __init__(self, path: Path, meter: str, zone: ZoneInfo) -> None:
        self._rows = _rows(path, meter, zone)
        self._ended = False

    @property
    def finished(self) -> bool:
        """Whether the recording is at its end."""
        return self._ended

    def sample(self, now: datetime) -> SourceSample:  # noqa: ARG002
        """The next rows, a bounded number of them."""
        readings = tuple(islice(self._rows, ROWS_PER_SAMPLE))
        self._ended = len(readings) < ROWS_PER_SAMPLE
        return SourceSample(readings)

    def close(self) -> None:
        """Nothing is held open but the file, which ends with the rows."""
        self._rows.close()


def open_nvidia_smi(settings: SourceSettings) -> NvidiaSmiSource:
    """The recording at `path`, of the GPU `meter` where its rows name none, in the zone `zone`."""
    if settings.path is None:
        raise CollectSettingsError("source nvidia_smi: name the path of the recording")
    try:
        zone = ZoneInfo(settings.zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise CollectSettingsError(f"source nvidia_smi: no time zone {settings.zone!r}") from error
    return NvidiaSmiSource(settings.path, settings.meter, zone)


def _rows(path: Path, meter: str, zone: ZoneInfo) -> Generator[Reading, None, None]:
    sensors: dict[str, _Sensor] = {}
    boards: set[tuple[str | None, ...]] = set()
    latest_us = 0
    with open_recording("nvidia_smi", path) as file:
        for number, row in enumerate(csv.DictReader(file, skipinitialspace=True), start=1):
            named = {_column(name): value for name, value in row.items() if name}
            try:
                at = _instant(named["timestamp"], zone, latest_us)
                power_mw = _power_mw(named)
            except (KeyError, ValueError) as error:
                raise SourceError(f"nvidia_smi {path}: row {number}: {error!r}") from error
            latest_us = max(latest_us, microseconds_of(at))
            uuid = next(filter(None, map(named.get, UUID_COLUMNS)), None)
            if uuid is None:
                boards.add(tuple(map(named.get, BOARD_COLUMNS)))
            if len(boards) > 1:
                why = f"row {number} is of another GPU; record the column uuid too"
                raise SourceError(f"nvidia_smi {path}: {why}")
            if power_mw is None:
                continue
            uuid = uuid or meter
            sensor = sensors.setdefault(uuid, _Sensor())
            yield from _read(uuid, sensor, power_mw, at)
    for uuid, sensor in sensors.items():
        if sensor.stuck_until is not None:
            yield _stuck(uuid, sensor)


def _instant(text: str, zone: ZoneInfo, latest_us: int) -> datetime:
    """A local time; of two that it can be the second, where the first is before what was read."""
    first = datetime.fromisoformat(text.strip().replace("/", "-")).replace(tzinfo=zone)
    second = first.replace(fold=1)
    is_twice = microseconds_of(second) > microseconds_of(first)
    later = is_twice and microseconds_of(first) < latest_us - FALL_US
    return (second if later else first).astimezone(UTC)


def _stuck(uuid: str, sensor: _Sensor) -> MeterGapReading:
    assert sensor.since is not None
    assert sensor.stuck_until is not None
    return MeterGapReading(
        gpu_uuid=uuid,
        reason=reasons.SENSOR_STUCK,
        since=sensor.since,
        until=sensor.stuck_until,
    )


def _read(uuid: str, sensor: _Sensor, power_mw: int, at: datetime) -> Iterator[Reading]:
    energy_mj = sensor.integral.add(power_mw, microseconds_of(at))
    if sensor.is_stuck(power_mw, at):
        first, sensor.stuck_until = sensor.stuck_until is None, at
        if first:
            yield _stuck(uuid, sensor)
        return
    yield GpuEnergyReading(
        gpu_uuid=uuid,
        epoch="nvidia_smi",
        energy_mj=energy_mj,
        power_mw=power_mw,
        sampled_at=at,
        method="power_integral",
        quality="estimated",
    )


def _column(name: str) -> str:
    return name.partition("[")[0].strip()


def _power_mw(row: Mapping[str, str]) -> int | None:
    for name in POWER_COLUMNS:
        watts = _WATTS.match(row.get(name) or "")
        if watts is not None:
            return int(Decimal(watts[1]) * 1_000)
    return None
