"""A recorded timeline of energy counters, given again at its own pace or all at once.

Rows (CSV with a header, or NDJSON; .gz too) have gpu_uuid, epoch, energy_mj, either `sampled_at`
(kept as it is) or `offset_s` (counted from the start of the replay), and optionally what else a
reading says. A row with `gap` is a reason why there was no reading since `since`.
"""

import csv
import json
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from collectors.errors import SourceError
from collectors.reading import GpuEnergyReading, MeterGapReading, Reading
from collectors.sources.recording import open_recording
from collectors.sources.source import SourceSample
from ledger.wire.rfc3339 import parse_rfc3339
from ledger.wire.units import US_PER_S

ROWS_PER_SAMPLE = 10_000


@dataclass(frozen=True, slots=True)
class ReplayRow:
    """A recorded reading and how long after the start it is due, in microseconds."""

    reading: Reading
    due_us: int


class ReplaySource:
    """Gives each recorded reading once it is due; `speed` 0 means as fast as it is asked."""

    name = "replay"

    def __init__(self, path: Path, *, start: datetime, speed: Decimal = Decimal(1)) -> None:
        self._rows = _rows(path, start)
        self._start = start
        self._speed = speed
        self._next = self._advance()

    @property
    def finished(self) -> bool:
        """Whether the recording is at its end."""
        return self._next is None

    def sample(self, now: datetime) -> SourceSample:
        """Every reading due by now, a bounded number at a time."""
        return SourceSample(tuple(islice(self._due(now), ROWS_PER_SAMPLE)))

    def close(self) -> None:
        """Nothing is held open but the file, which ends with the rows."""
        self._next = None
        self._rows.close()

    def _due(self, now: datetime) -> Iterator[Reading]:
        elapsed_us = (now - self._start) // timedelta(microseconds=1)
        limit = elapsed_us * self._speed
        while self._next is not None and (self._speed == 0 or self._next.due_us <= limit):
            reading = self._next.reading
            self._next = self._advance()
            yield reading

    def _advance(self) -> ReplayRow | None:
        return next(self._rows, None)


def _rows(path: Path, start: datetime) -> Generator[ReplayRow, None, None]:
    first: datetime | None = None
    with open_recording("replay", path) as file:
        for number, fields in enumerate(_records(path, file), start=1):
            try:
                at = _sampled_at(fields, start)
                reading = _gap(fields, at) if fields.get("gap") else _reading(fields, at)
            except (KeyError, ValueError, ArithmeticError, TypeError) as error:
                raise SourceError(
                    f"replay {path}: row {number} is no reading ({error!r}); "
                    "it needs gpu_uuid, epoch, energy_mj and sampled_at or offset_s"
                ) from error
            origin = start if _has_offset(fields) else (first or at)
            first = first or at
            yield ReplayRow(reading, (at - origin) // timedelta(microseconds=1))


def _records(path: Path, file: TextIO) -> Iterator[Mapping[str, Any]]:
    if ".csv" in path.suffixes:
        yield from csv.DictReader(file)
        return
    for line in file:
        if line.strip():
            yield json.loads(line)


def _gap(fields: Mapping[str, Any], at: datetime) -> MeterGapReading:
    return MeterGapReading(
        gpu_uuid=str(fields["gpu_uuid"]),
        reason=str(fields["gap"]),
        since=parse_rfc3339(fields["since"]),
        until=at,
        detail=fields.get("detail") or None,
    )


def _reading(fields: Mapping[str, Any], at: datetime) -> GpuEnergyReading:
    return GpuEnergyReading(
        gpu_uuid=str(fields["gpu_uuid"]),
        epoch=str(fields["epoch"]),
        energy_mj=int(str(fields["energy_mj"])),
        power_mw=_whole(fields.get("power_mw")),
        sampled_at=at,
        method=fields.get("method") or "nvml_counter",
        quality=fields.get("quality") or "good",
        scope=fields.get("scope") or "gpu",
        mig=str(fields.get("mig")).lower() == "true",
        boot_id=fields.get("boot_id") or None,
        driver_load=fields.get("driver_load") or None,
        monotonic_us=_whole(fields.get("monotonic_us")),
    )


def _whole(value: object) -> int | None:
    return None if value in {None, ""} else int(str(value))


def _has_offset(fields: Mapping[str, object]) -> bool:
    # A number of NDJSON may be 0; CSV leaves a cell empty.
    return fields.get("offset_s") not in {None, ""}


def _sampled_at(fields: Mapping[str, Any], start: datetime) -> datetime:
    if _has_offset(fields):
        offset_us = int(Decimal(str(fields["offset_s"])) * US_PER_S)
        return start + timedelta(microseconds=offset_us)
    return parse_rfc3339(fields["sampled_at"])
