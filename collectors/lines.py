"""Readings as the lines that a spool keeps; what stays the same of a line is encoded once."""

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from operator import attrgetter

from collectors.reading import AnyReading, CountersReading, GpuEnergyReading
from ledger.wire.errors import WireError
from ledger.wire.ndjson import encode_bare
from ledger.wire.rfc3339 import format_rfc3339

log = logging.getLogger(__name__)

# What a batch puts in front of a line.
POSITION_BYTES = 1024
# A page of more counters is seldom, and encoded whole.
FORM_COUNTERS_MAX = 200
# Stands in a line where what differs from reading to reading will stand.
_READ_AT = datetime(1, 1, 1, microsecond=1, tzinfo=UTC)
_RECORDED_AT = datetime(1, 1, 1, microsecond=2, tzinfo=UTC)
_TIMES = {"read": format_rfc3339(_READ_AT), "recorded": format_rfc3339(_RECORDED_AT)}
_ENERGY_MARKS = {
    name: f"8{index:018d}" for index, name in enumerate(("energy_mj", "power_mw", "monotonic_us"))
}
_VALUES = {f"value{index}": f"7{index:018d}" for index in range(FORM_COUNTERS_MAX)}
_same_energy = attrgetter("epoch", "method", "quality", "scope", "mig", "boot_id", "driver_load")
_same_run = attrgetter("engine", "run_id", "run_started_at")
# What a number's text is made of means the same inside JSON's quotes.
_NUMBERS = re.compile(r"[0-9A-Za-z.+-]*", re.ASCII)


class LineWriter:
    """Writes readings as lines without a place; one that no batch can carry is named and left out.

    A batch holds `batch_bytes` at most.
    """

    def __init__(self, batch_bytes: int) -> None:
        self._batch_bytes = batch_bytes
        self._forms: dict[tuple[str, str], tuple[object, str | None]] = {}

    def lines(self, readings: Iterable[AnyReading], recorded_at: datetime) -> list[bytes]:
        """The readings in their order, less those left out."""
        recorded = format_rfc3339(recorded_at)
        lines = (
            self._filled(reading, recorded) or self._encoded(reading, recorded_at)
            for reading in readings
        )
        return [line for line in lines if line is not None]

    def _filled(self, reading: AnyReading, recorded: str) -> bytes | None:
        """A line from its form; None where there is none for what was read."""
        if isinstance(reading, GpuEnergyReading):
            return self._filled_energy(reading, recorded)
        if isinstance(reading, CountersReading) and _is_plain(reading):
            return self._filled_counters(reading, recorded)
        return None

    def _filled_energy(self, reading: GpuEnergyReading, recorded: str) -> bytes | None:
        same = (_same_energy(reading), reading.power_mw is None, reading.monotonic_us is None)
        known = self._forms.get(("board", reading.gpu_uuid))
        if known is None or known[0] != same:
            known = (same, self._form(*_marked_energy(reading)))
            self._forms["board", reading.gpu_uuid] = known
        if known[1] is None:
            return None
        differs = {
            "energy_mj": reading.energy_mj,
            "power_mw": reading.power_mw,
            "monotonic_us": reading.monotonic_us,
            "read": format_rfc3339(reading.sampled_at),
            "recorded": recorded,
        }
        return (known[1] % differs).encode()

    def _filled_counters(self, reading: CountersReading, recorded: str) -> bytes | None:
        counters = reading.counters
        same = (_same_run(reading), [(c.name, c.labels, c.precision_loss) for c in counters])
        known = self._forms.get(("instance", reading.instance))
        if known is None or known[0] != same:
            known = (same, self._form(*_marked_counters(reading)))
            self._forms["instance", reading.instance] = known
        if known[1] is None:
            return None
        differs = dict(zip(_VALUES, [c.value for c in counters], strict=False))
        differs |= {"read": format_rfc3339(reading.scraped_at), "recorded": recorded}
        return (known[1] % differs).encode()

    def _form(self, marked: AnyReading, marks: Mapping[str, str]) -> str | None:
        """The line with names where the marks are; None where one may be what it says itself."""
        line = self._encoded(marked, _RECORDED_AT)
        if line is None:
            return None
        text = line.decode().replace("%", "%%")
        for name, mark in marks.items():
            if text.count(mark) > 1:
                return None
            text = text.replace(mark, f"%({name})s")
        return text

    def _encoded(self, reading: AnyReading, recorded_at: datetime) -> bytes | None:
        event = reading.to_event(recorded_at=recorded_at)
        try:
            line = encode_bare(event)
        except (WireError, ValueError) as error:
            line, why = b"", str(error)
        else:
            # A batch holds one event at least.
            why = f"{len(line)} bytes" if len(line) + POSITION_BYTES > self._batch_bytes else ""
        if why:
            log.error("spool: a %s fits no batch and is left out: %s", event["type"], why)
            return None
        return line


def _is_plain(reading: CountersReading) -> bool:
    if len(reading.counters) > FORM_COUNTERS_MAX:
        return False
    return _NUMBERS.fullmatch("".join([counter.value for counter in reading.counters])) is not None


def _marked_energy(reading: GpuEnergyReading) -> tuple[GpuEnergyReading, Mapping[str, str]]:
    """The reading with marks where readings differ, and the marks that are in it."""
    said = {
        name: mark for name, mark in _ENERGY_MARKS.items() if getattr(reading, name) is not None
    }
    numbers = {name: int(mark) for name, mark in said.items()}
    marked = replace(
        reading,
        sampled_at=_READ_AT,
        energy_mj=numbers["energy_mj"],
        power_mw=numbers.get("power_mw"),
        monotonic_us=numbers.get("monotonic_us"),
    )
    return marked, _TIMES | said


def _marked_counters(reading: CountersReading) -> tuple[CountersReading, Mapping[str, str]]:
    counters = zip(reading.counters, _VALUES.items(), strict=False)
    marked = [(replace(counter, value=mark), name, mark) for counter, (name, mark) in counters]
    told = replace(
        reading, counters=tuple(counter for counter, _, _ in marked), scraped_at=_READ_AT
    )
    return told, _TIMES | {name: mark for _, name, mark in marked}
