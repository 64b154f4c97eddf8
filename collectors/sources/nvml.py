"""NVIDIA's NVML to energy readings: one batched read a board, each field's own code checked first.

NVML stays open for the process's life, because without any client the driver may unload and the
counter start again; it is opened anew only where a board is lost or another one is there, and then
the boards that answer are held meanwhile. Boards are known by UUID; a MIG slice has no counter: its
parent is read once. A board without a counter has its power integrated.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from collectors.errors import BoardLostError, DriverGoneError, RestartNeededError, SourceError
from collectors.reading import GpuEnergyReading
from collectors.sources.host_clock import SILENCE_US, driver_load, read_boot_id, since_boot_us
from collectors.sources.integral import PowerIntegral
from collectors.sources.nvml_board import (
    BoardReport,
    NvmlBoard,
    call_nvml,
    find_boards,
    read_fields,
    read_power,
    report_board,
)
from collectors.sources.source import SourceSample
from ledger.wire import meter_reasons as reasons

log = logging.getLogger(__name__)

# What is gone is looked for again after so many seconds, however often one reads.
RETRY_S = 30
# A driver with an open client is not loaded anew, and one that was has counters that fell.
LOAD_FOR_US = 500_000
FIELD_TIME_TOLERANCE_US = 5_000_000
LISTED_GPUS = Path("/proc/driver/nvidia/gpus")
DEVICES = Path("/dev")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def list_gpus() -> tuple[str, ...]:
    """The boards the driver lists, by their places on the bus; none where it lists none."""
    try:
        return tuple(sorted(entry.name for entry in LISTED_GPUS.iterdir()))
    except OSError:
        return ()


@dataclass(slots=True)
class NvmlSource:
    """All boards of this host that say what they use.

    `load` names the load of the driver, `listed` the boards that the driver lists, by which one
    that was added is seen; `clock` is the time since the boot in microseconds.
    """

    boot_id: str | None = field(default_factory=read_boot_id)
    load: Callable[[], str | None] = lambda: driver_load("nvidia")
    listed: Callable[[], tuple[str, ...]] = list_gpus
    clock: Callable[[], int] = since_boot_us
    silence_us: int = SILENCE_US
    name: str = "nvml"
    finished: bool = False
    _boards: dict[str, NvmlBoard] = field(default_factory=dict)
    _seen: tuple[str, ...] = ()
    _missing: int = 0
    _down: SourceError | None = None
    _retry_us: int = 0
    _loaded: str | None = None
    _loaded_us: int | None = None
    _ended: RestartNeededError | None = None

    def open(self) -> None:
        """Open the driver's library and find the boards; SourceError where there is none."""
        self._down = None
        call_nvml("nvmlInit")
        self._discover()

    def sample(self, now: datetime) -> SourceSample:
        """Read every board once; a board that fails is a fault, the others are readings."""
        if self._ended is not None:
            raise self._ended
        at_us = self.clock()
        self._look_again(at_us)
        if self._down is not None:
            return SourceSample((), (self._down,))
        if self._loaded_us is None or at_us - self._loaded_us >= LOAD_FOR_US:
            self._take_load(at_us)
        now_us = (now - _EPOCH) // _MICROSECOND
        readings: list[GpuEnergyReading] = []
        faults: list[SourceError] = []
        for board in self._boards.values():
            try:
                if board.handle is not None:
                    readings.append(self._read(board, now_us, at_us))
                elif board.why is not None:
                    faults.append(board.why)
            except RestartNeededError as error:
                # What it means is told first; the process ends with the next round.
                self._ended = error
                return SourceSample(tuple(readings), (_of_all(error),))
            except DriverGoneError as error:
                self._down = _of_all(error)
                return SourceSample(tuple(readings), (self._down,))
            except SourceError as error:
                error.gpu_uuid = board.gpu_uuid
                faults.append(error)
        return SourceSample(tuple(readings), tuple(faults))

    def miss(self, why: SourceError) -> None:
        """Nothing is there yet: look for it again."""
        self._down = _of_all(why)

    def report(self) -> tuple[BoardReport, ...]:
        """What each board offers now, for someone who sets a host up."""
        return tuple(report_board(board) for board in self._boards.values())

    def close(self) -> None:
        """Let NVML go."""
        try:
            call_nvml("nvmlShutdown")
        except SourceError as error:
            log.debug("nvml: %s", error)

    def _look_again(self, at_us: int) -> None:
        """Open NVML anew, now and then, where something is gone or the boards are others."""
        if at_us < self._retry_us:
            return
        self._retry_us = at_us + RETRY_S * 1_000_000
        silent = [
            board for board in self._boards.values() if board.handle is None and not board.replaced
        ]
        lost = self._missing or silent
        if self._down is None and not lost and self.listed() == self._seen:
            return
        held = _hold_devices() if self._down is None else []
        try:
            self.close()
            self.open()
        except RestartNeededError:
            raise
        except SourceError as error:
            self._down = _of_all(error)
        finally:
            for device in held:
                os.close(device)

    def _discover(self) -> None:
        """Take up the boards there are; those known keep what is known of them."""
        self._seen, self._loaded_us = self.listed(), None
        count = call_nvml("nvmlDeviceGetCount")
        boards = {board.gpu_uuid: board for board in find_boards(count)}
        self._missing = max(0, count - len(boards))
        others = boards.keys() - self._boards.keys()
        for uuid, known in self._boards.items():
            if uuid in boards:
                known.take(boards[uuid].handle)
                continue
            if known.replaced:
                continue
            reason = reasons.GPU_REPLACED if others else reasons.GPU_LOST
            why = BoardLostError(f"nvml: {uuid} is gone", reason=reason, gpu_uuid=uuid)
            known.take(None, why)
        self._boards = boards | self._boards

    def _take_load(self, at_us: int) -> None:
        """Which load of the driver this is, and with that which life its counters are in."""
        before, self._loaded, self._loaded_us = self._loaded, self.load(), at_us
        if before != self._loaded:
            for board in self._boards.values():
                board.epoch = ""

    def _read(self, board: NvmlBoard, now_us: int, at_us: int) -> GpuEnergyReading:
        try:
            energy_mj, power_mw, field_us = read_fields(board)
        except BoardLostError as error:
            board.take(None, error)
            raise
        except SourceError as error:
            if error.reason == reasons.NOT_SUPPORTED:
                return self._integrated(board, now_us, at_us)
            raise
        if energy_mj < board.energy_mj:
            board.falls += 1
            board.epoch = ""
            self._take_load(at_us)
        if not board.epoch:
            board.epoch = f"{self.boot_id}.{self._loaded}.{board.falls}"
        board.energy_mj = energy_mj
        return GpuEnergyReading(
            gpu_uuid=board.gpu_uuid,
            epoch=board.epoch,
            energy_mj=energy_mj,
            power_mw=power_mw,
            sampled_at=_nearest(field_us, now_us),
            scope=board.scope,
            mig=board.mig,
            boot_id=self.boot_id,
            driver_load=self._loaded,
            monotonic_us=None if self.boot_id is None else at_us,
        )

    def _integrated(self, board: NvmlBoard, now_us: int, at_us: int) -> GpuEnergyReading:
        if board.integral is None:
            board.integral = PowerIntegral(self.silence_us)
            board.integral_name = f"integral.{at_us}"
        power_mw, field_us = read_power(board)
        return GpuEnergyReading(
            gpu_uuid=board.gpu_uuid,
            epoch=f"{self.boot_id}.{board.integral_name}",
            energy_mj=board.integral.add(power_mw, at_us),
            power_mw=power_mw,
            sampled_at=_nearest(field_us, now_us),
            method="power_integral",
            quality="estimated",
            scope=board.scope,
            mig=board.mig,
            boot_id=self.boot_id,
            driver_load=board.integral_name,
            monotonic_us=None if self.boot_id is None else at_us,
        )


def _of_all(error: SourceError) -> SourceError:
    return type(error)(str(error), reason=error.reason)


def _hold_devices() -> list[int]:
    """The boards' devices, held open: a driver whose last client goes unloads and forgets."""
    held: list[int] = []
    for path in DEVICES.glob("nvidia[0-9]*"):
        try:
            held.append(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        except OSError as error:
            log.debug("nvml: %s: %s", path, error)
    return held


def _nearest(field_us: int, now_us: int) -> datetime:
    """The driver's own time of the read, unless it is missing or far from ours."""
    far = abs(field_us - now_us) > FIELD_TIME_TOLERANCE_US
    return _EPOCH + timedelta(microseconds=now_us if far else field_us)
