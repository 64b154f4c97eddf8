"""A source watched: its readings get what orders them, its silences become events with reasons.

A silence is told at once, each minute while it lasts and when it is over. What was read last is
kept in a file, so that what happened while no collector ran is told too; nothing in the books hangs
on that file.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from collectors.errors import RestartNeededError, SourceError
from collectors.reading import GpuEnergyReading, MeterGapReading, Reading
from collectors.sources.host_clock import SILENCE_US, read_boot_id, since_boot_us
from collectors.sources.source import Source, SourceSample
from ledger.wire import meter_reasons as reasons
from ledger.wire.rfc3339 import format_rfc3339, parse_rfc3339

log = logging.getLogger(__name__)

Kept = Mapping[str, str]

TELL_EVERY_US = 60_000_000
KEEP_EVERY_US = 60_000_000
STEP = timedelta(milliseconds=500)
FACTOR = 1_000
DETAIL_CHARS = 200


@dataclass(slots=True)
class Watched:
    """What is known of one meter: its last reading, and its silence where it is silent."""

    reading: GpuEnergyReading
    since_boot_us: int
    gap: MeterGapReading | None = None
    told_us: int = 0


@dataclass(slots=True)
class WatchedSource:
    """A source of this host whose readings are taken when they are given."""

    source: Source
    state_path: Path | None = None
    clock: Callable[[], int] = since_boot_us
    boot_id: str | None = field(default_factory=read_boot_id)
    silence_us: int = SILENCE_US
    _meters: dict[str, Watched] = field(default_factory=dict)
    _began: bool = False
    _kept_us: int | None = None
    _offset: datetime | None = None
    _host_gap: Watched | None = None

    def __post_init__(self) -> None:
        if self.state_path is not None:
            self._meters = _load(self.state_path)

    @property
    def name(self) -> str:
        """That of the source."""
        return self.source.name

    @property
    def finished(self) -> bool:
        """That of the source."""
        return self.source.finished

    def close(self) -> None:
        """Keep what was read last, and let the source go."""
        self._keep()
        self.source.close()

    def sample(self, now: datetime) -> SourceSample:
        """One round of the source, and what is to be told of its meters."""
        at_us = self.clock()
        try:
            sample = self.source.sample(now)
        except RestartNeededError:
            raise
        except SourceError as error:
            sample = SourceSample((), (error,))
        told = [*self._clock_set(now, at_us)]
        taken: list[Reading] = []
        ran_on: set[str] = set()
        for reading in sample.readings:
            if isinstance(reading, GpuEnergyReading):
                read = self._stamped(reading, at_us)
                if self._ran_on(read, at_us):
                    ran_on.add(read.gpu_uuid)
                else:
                    told += self._took(read, at_us)
                taken.append(read)
            else:
                taken.append(reading)
        if sample.faults or len(ran_on) < len(self._meters):
            told += self._missed(sample.faults, now, at_us)
        self._began = True
        if self._kept_us is None or at_us - self._kept_us >= KEEP_EVERY_US:
            self._keep()
            self._kept_us = at_us
        return SourceSample((*taken, *told), sample.faults)

    def _stamped(self, reading: GpuEnergyReading, at_us: int) -> GpuEnergyReading:
        if reading.monotonic_us is not None or self.boot_id is None:
            return reading
        return replace(reading, boot_id=self.boot_id, monotonic_us=at_us)

    def _ran_on(self, reading: GpuEnergyReading, at_us: int) -> bool:
        """Whether a meter goes on as nearly always: then there is nothing to tell of it."""
        meter = self._meters.get(reading.gpu_uuid)
        if meter is None or meter.gap is not None or not self._began or self._host_gap is not None:
            return False
        before = meter.reading
        if not before.boot_id == reading.boot_id == self.boot_id:
            return False
        silent = at_us - meter.since_boot_us > self.silence_us
        if silent or before.driver_load != reading.driver_load:
            return False
        # Less than twice as much is neither a counter that began again nor one in another unit.
        if not before.energy_mj <= reading.energy_mj < 2 * before.energy_mj:
            return False
        meter.reading, meter.since_boot_us = reading, at_us
        return True

    def _took(self, reading: GpuEnergyReading, at_us: int) -> Iterator[MeterGapReading]:
        if self._host_gap is not None and self._host_gap.gap is not None:
            gap = self._host_gap.gap
            yield replace(gap, until=max(reading.sampled_at, gap.since))
            self._host_gap = None
        before = self._meters.get(reading.gpu_uuid)
        self._meters[reading.gpu_uuid] = Watched(reading, at_us)
        if before is None or not self._began:
            yield from _kind_of(reading)
        if before is None:
            if self._began:
                yield _notice(reading, reasons.GPU_ADDED)
            return
        if before.gap is not None:
            yield replace(before.gap, until=max(reading.sampled_at, before.gap.since))
            if before.gap.reason in {reasons.GPU_LOST, reasons.GPU_REPLACED}:
                yield _notice(reading, reasons.GPU_RECOVERED)
        yield from self._between(before, reading, at_us)

    def _between(
        self, before: Watched, reading: GpuEnergyReading, at_us: int
    ) -> Iterator[MeterGapReading]:
        for reason in _restarts(before.reading, reading):
            yield _gap(before.reading, reading, reason)
        same_boot = before.reading.boot_id == self.boot_id
        silent_us = at_us - before.since_boot_us if same_boot else self.silence_us + 1
        if before.gap is None and silent_us > self.silence_us:
            down = reasons.SUSPENDED if self._began else reasons.COLLECTOR_DOWN
            yield _gap(before.reading, reading, down)

    def _missed(
        self, faults: Iterable[SourceError], now: datetime, at_us: int
    ) -> Iterator[MeterGapReading]:
        why = {fault.gpu_uuid: fault for fault in faults}
        for uuid, meter in self._meters.items():
            if meter.since_boot_us == at_us and meter.reading.boot_id == self.boot_id:
                continue
            fault = why.get(uuid) or why.get(None)
            yield from self._silent(uuid, meter, fault, now, at_us)
        for gpu, error in why.items():
            if gpu is not None and gpu not in self._meters:
                yield MeterGapReading(
                    gpu_uuid=gpu, reason=error.reason, since=now, until=now, detail=_said(error)
                )
        if not self._meters and None in why:
            yield from self._nobody(why[None], now, at_us)

    def _silent(
        self, uuid: str, meter: Watched, fault: SourceError | None, now: datetime, at_us: int
    ) -> Iterator[MeterGapReading]:
        gap = meter.gap
        if fault is None and gap is None:
            if at_us - meter.since_boot_us <= self.silence_us:
                return
            fault = SourceError("no reading came", reason=reasons.SOURCE_SILENT)
        if fault is not None and (gap is None or gap.reason != fault.reason):
            if gap is not None:
                yield replace(gap, until=max(now, gap.since))
            since = min(meter.reading.sampled_at, now) if gap is None else now
            meter.gap = MeterGapReading(
                gpu_uuid=uuid, reason=fault.reason, since=since, until=now, detail=_said(fault)
            )
            meter.told_us = at_us
            yield meter.gap
        elif gap is not None and at_us - meter.told_us >= TELL_EVERY_US:
            meter.told_us = at_us
            yield replace(gap, until=max(now, gap.since))

    def _nobody(self, fault: SourceError, now: datetime, at_us: int) -> Iterator[MeterGapReading]:
        """The silence of a source that never named a meter, under the source's own name."""
        reading = GpuEnergyReading(
            gpu_uuid=f"source:{self.name}",
            epoch="",
            energy_mj=0,
            sampled_at=now,
            boot_id=self.boot_id,
        )
        self._host_gap = self._host_gap or Watched(reading, at_us)
        yield from self._silent(reading.gpu_uuid, self._host_gap, fault, now, at_us)

    def _clock_set(self, now: datetime, at_us: int) -> Iterator[MeterGapReading]:
        offset = now - timedelta(microseconds=at_us)
        before, self._offset = self._offset, offset
        if before is not None and abs(offset - before) > STEP:
            detail = f"by {(offset - before).total_seconds():+.1f} s"
            for uuid in self._meters:
                yield MeterGapReading(
                    gpu_uuid=uuid, reason=reasons.CLOCK_STEP, since=now, until=now, detail=detail
                )

    def _keep(self) -> None:
        if self.state_path is None or not self._meters:
            return
        kept = {uuid: _to_dict(meter) for uuid, meter in self._meters.items()}
        try:
            self.state_path.parent.mkdir(parents=True, exist_ok=True)
            draft = self.state_path.with_name(self.state_path.name + ".new")
            draft.write_text(json.dumps(kept, sort_keys=True), encoding="utf-8")
            draft.replace(self.state_path)
        except OSError as error:
            log.warning("%s: what was read last is not kept: %s", self.state_path, error)


def _restarts(before: GpuEnergyReading, after: GpuEnergyReading) -> Iterator[str]:
    """Why a counter did not run on between two readings, where they show it."""
    loads = (before.driver_load, after.driver_load)
    if before.boot_id is not None and before.boot_id != after.boot_id:
        yield reasons.REBOOT
    elif None not in loads and loads[0] != loads[1]:
        yield reasons.DRIVER_RELOAD
    elif _is_factor(before.energy_mj, after.energy_mj):
        yield reasons.UNIT_CHANGED
    elif after.energy_mj < before.energy_mj:
        yield reasons.COUNTER_RESET


def _is_factor(left: int, right: int) -> bool:
    """Whether a counter is a thousand times another to a hundredth: joules for millijoules."""
    low, high = sorted((left, right))
    return low > 0 and abs(high - low * FACTOR) * 100 <= high


def _kind_of(reading: GpuEnergyReading) -> Iterator[MeterGapReading]:
    """What is unlike a counter of one whole board, told once a process."""
    if reading.mig:
        yield _notice(reading, reasons.MIG_PARENT)
    if reading.scope == "module":
        yield _notice(reading, reasons.MODULE_SCOPE)
    if reading.method == "power_integral":
        yield _notice(reading, reasons.NOT_SUPPORTED)


def _notice(reading: GpuEnergyReading, reason: str) -> MeterGapReading:
    at = reading.sampled_at
    return MeterGapReading(gpu_uuid=reading.gpu_uuid, reason=reason, since=at, until=at)


def _gap(before: GpuEnergyReading, after: GpuEnergyReading, reason: str) -> MeterGapReading:
    since = min(before.sampled_at, after.sampled_at)
    return MeterGapReading(
        gpu_uuid=after.gpu_uuid, reason=reason, since=since, until=after.sampled_at
    )


def _said(fault: SourceError) -> str:
    return str(fault)[:DETAIL_CHARS] or fault.reason


def _to_dict(meter: Watched) -> Kept:
    reading = meter.reading
    return {
        "epoch": reading.epoch,
        "energy_mj": str(reading.energy_mj),
        "sampled_at": format_rfc3339(reading.sampled_at),
        "boot_id": reading.boot_id or "",
        "driver_load": reading.driver_load or "",
        "since_boot_us": str(meter.since_boot_us),
    }


def _load(path: Path) -> dict[str, Watched]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {uuid: _from_dict(uuid, stored) for uuid, stored in kept.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _from_dict(uuid: str, kept: Kept) -> Watched:
    reading = GpuEnergyReading(
        gpu_uuid=uuid,
        epoch=kept["epoch"],
        energy_mj=int(kept["energy_mj"]),
        sampled_at=parse_rfc3339(kept["sampled_at"]),
        boot_id=kept["boot_id"] or None,
        driver_load=kept["driver_load"] or None,
    )
    return Watched(reading, int(kept["since_boot_us"]))
