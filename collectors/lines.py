"""Readings as the lines that a spool keeps; what stays the same of a board's is encoded once."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from operator import attrgetter

from collectors.reading import AnyReading, GpuEnergyReading
from ledger.wire.errors import WireError
from ledger.wire.ndjson import encode_bare
from ledger.wire.rfc3339 import format_rfc3339

log = logging.getLogger(__name__)

# What a batch puts in front of a line.
PLACE_BYTES = 1024
# Stands in a line where what differs from reading to reading will stand.
_ENERGY, _POWER, _SINCE_BOOT = 7 * 10**18 + 1, 7 * 10**18 + 2, 7 * 10**18 + 3
_SAMPLED = datetime(1, 1, 1, microsecond=1, tzinfo=UTC)
_RECORDED = datetime(1, 1, 1, microsecond=2, tzinfo=UTC)
_MARKS = {
    "energy_mj": str(_ENERGY),
    "power_mw": str(_POWER),
    "monotonic_us": str(_SINCE_BOOT),
    "sampled": format_rfc3339(_SAMPLED),
    "recorded": format_rfc3339(_RECORDED),
}
_same = attrgetter("epoch", "method", "quality", "scope", "mig", "boot_id", "driver_load")


class LineWriter:
    """Writes readings as lines without a place; one that no batch can carry is named and left out.

    A batch holds `batch_bytes` at most.
    """

    def __init__(self, batch_bytes: int) -> None:
        self._batch_bytes = batch_bytes
        self._forms: dict[str, tuple[object, str | None]] = {}

    def lines(self, readings: Iterable[AnyReading], recorded_at: datetime) -> list[bytes]:
        """The readings in their order, less those left out."""
        recorded = format_rfc3339(recorded_at)
        lines = (
            self._filled(reading, recorded) or self._encoded(reading, recorded_at)
            for reading in readings
        )
        return [line for line in lines if line is not None]

    def _filled(self, reading: AnyReading, recorded: str) -> bytes | None:
        """A board's line from its form; None where there is none for what was read."""
        form = self._form(reading) if isinstance(reading, GpuEnergyReading) else None
        if form is None or not isinstance(reading, GpuEnergyReading):
            return None
        differs = {
            "energy_mj": reading.energy_mj,
            "power_mw": reading.power_mw,
            "monotonic_us": reading.monotonic_us,
            "sampled": format_rfc3339(reading.sampled_at),
            "recorded": recorded,
        }
        return (form % differs).encode()

    def _form(self, reading: GpuEnergyReading) -> str | None:
        same = (_same(reading), reading.power_mw is None, reading.monotonic_us is None)
        known = self._forms.get(reading.gpu_uuid)
        if known is None or known[0] != same:
            known = (same, self._new_form(reading))
            self._forms[reading.gpu_uuid] = known
        return known[1]

    def _new_form(self, reading: GpuEnergyReading) -> str | None:
        """The line with names for what differs; None where it is not plain what does."""
        marked = replace(
            reading,
            energy_mj=_ENERGY,
            sampled_at=_SAMPLED,
            power_mw=None if reading.power_mw is None else _POWER,
            monotonic_us=None if reading.monotonic_us is None else _SINCE_BOOT,
        )
        line = self._encoded(marked, _RECORDED)
        if line is None:
            return None
        text = line.decode().replace("%", "%%")
        for name, mark in _MARKS.items():
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
            why = f"{len(line)} bytes" if len(line) + PLACE_BYTES > self._batch_bytes else ""
        if why:
            log.error("spool: a %s fits no batch and is left out: %s", event["type"], why)
            return None
        return line
