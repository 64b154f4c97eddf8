"""NVIDIA's NVML to energy readings: one batched read a board, each field's own code checked first.

NVML stays open for the process's life, because without any client the driver may unload and the
counter start again; it is opened anew only where a board is lost or another one is there, and then
the boards that answer are held meanwhile. Boards are known by UUID; a MIG slice has no counter: its
parent is read once. A board without a counter has its power integrated.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pynvml

from collectors.errors import BoardLostError, DriverGoneError, RestartNeededError, SourceError
from collectors.reading import EnergyScope, GpuEnergyReading
from collectors.sources.field_values import FieldValue, FieldValues
from collectors.sources.host_clock import SILENCE_US, driver_load, read_boot_id, since_boot_us
from collectors.sources.integral import PowerIntegral
from collectors.sources.source import SourceSample
from ledger.wire import meter_reasons as reasons
from ledger.wire.units import BLANK_VALUE_MIN

log = logging.getLogger(__name__)

ENERGY_FIELDS = (pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, pynvml.NVML_FI_DEV_ENERGY)
POWER_FIELDS = (pynvml.NVML_FI_DEV_POWER_AVERAGE, pynvml.NVML_FI_DEV_POWER_INSTANT)
SCOPE_GPU = pynvml.NVML_POWER_SCOPE_GPU
SCOPE_MODULE = pynvml.NVML_POWER_SCOPE_MODULE
# What is gone is looked for again after so many seconds, however often one reads.
RETRY_S = 30
# A driver with an open client is not loaded anew, and one that was has counters that fell.
LOAD_FOR_US = 500_000
FIELD_TIME_TOLERANCE_US = 5_000_000
FIELD_VALUES = "nvmlDeviceGetFieldValues"
LISTED_GPUS = Path("/proc/driver/nvidia/gpus")
DEVICES = Path("/dev")

ERRORS: Mapping[int, tuple[type[SourceError], str]] = MappingProxyType(
    {
        pynvml.NVML_ERROR_GPU_IS_LOST: (BoardLostError, reasons.GPU_LOST),
        pynvml.NVML_ERROR_RESET_REQUIRED: (BoardLostError, reasons.GPU_LOST),
        # A handle goes stale when persistence is switched off on coherent parts; a new one helps.
        pynvml.NVML_ERROR_INVALID_ARGUMENT: (BoardLostError, reasons.GPU_LOST),
        pynvml.NVML_ERROR_NOT_FOUND: (BoardLostError, reasons.GPU_LOST),
        pynvml.NVML_ERROR_UNINITIALIZED: (DriverGoneError, reasons.DRIVER_MISSING),
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED: (DriverGoneError, reasons.DRIVER_MISSING),
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: (DriverGoneError, reasons.LIBRARY_MISSING),
        # A library already loaded cannot be swapped in place.
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (RestartNeededError, reasons.DRIVER_MISSING),
        pynvml.NVML_ERROR_NO_PERMISSION: (SourceError, reasons.NO_PERMISSION),
        pynvml.NVML_ERROR_NOT_SUPPORTED: (SourceError, reasons.NOT_SUPPORTED),
    }
)
# Which bits of a field's union are its integer; of a signed one less than nothing is no reading.
_INTEGERS: Mapping[int, int] = MappingProxyType(
    {
        pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: 2**32 - 1,
        pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: 2**64 - 1,
        pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: 2**64 - 1,
        pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: 2**64 - 1,
    }
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(slots=True)
class NvmlBoard:
    """One physical GPU; its handle is None while it is lost, and `why` says how it was lost."""

    gpu_uuid: str
    model: str
    handle: Any
    scope: EnergyScope
    mig: bool
    falls: int = 0
    energy_mj: int = 0
    why: SourceError | None = None
    integral: PowerIntegral | None = None
    integral_name: str = ""
    epoch: str = ""
    fields: FieldValues | None = None
    answering: FieldValues | None = None

    def take(self, handle: object, why: SourceError | None = None) -> None:
        """Be asked by this handle from now on; None says that the board is lost, and why."""
        self.handle, self.why = handle, why
        self.fields = self.answering = None

    @property
    def replaced(self) -> bool:
        """Whether another board is in its place, so that nobody waits for it."""
        return self.why is not None and self.why.reason == reasons.GPU_REPLACED


@dataclass(frozen=True, slots=True)
class BoardReport:
    """What a board offers: whether its energy counter answers and at which scope."""

    gpu_uuid: str
    model: str
    mig: bool
    scope: EnergyScope
    energy_mj: int | None
    power_mw: int | None
    problem: str | None


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
        _call("nvmlInit")
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
        return tuple(_report(board) for board in self._boards.values())

    def close(self) -> None:
        """Let NVML go."""
        try:
            _call("nvmlShutdown")
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
        count = _call("nvmlDeviceGetCount")
        boards = {board.gpu_uuid: board for board in _boards(count)}
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
            energy_mj, power_mw, field_us = _read_fields(board)
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
        power_mw, field_us = _read_power(board)
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


def _boards(count: int) -> Iterator[NvmlBoard]:
    for index in range(count):
        try:
            yield _board(_call("nvmlDeviceGetHandleByIndex", index))
        except (RestartNeededError, DriverGoneError):
            raise
        except SourceError as error:
            log.warning("nvml: board %d left out for now: %s", index, error)


def _board(handle: Any) -> NvmlBoard:
    uuid = str(_call("nvmlDeviceGetUUID", handle))
    if uuid.startswith("MIG-"):
        handle = _call("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle)
        uuid = str(_call("nvmlDeviceGetUUID", handle))
    return NvmlBoard(
        gpu_uuid=uuid,
        model=str(_call("nvmlDeviceGetName", handle)),
        handle=handle,
        scope=_scope(handle),
        mig=_mig(handle),
    )


def _mig(handle: Any) -> bool:
    try:
        current, _pending = _call("nvmlDeviceGetMigMode", handle)
    except SourceError:
        return False
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)


def _scope(handle: Any) -> EnergyScope:
    """Whether the board answers for its whole module: then host energy must not be added again."""
    wanted = [(field, SCOPE_MODULE) for field in POWER_FIELDS]
    values = _read_now(_fields(handle, wanted))
    return "module" if any(_integer(value) is not None for value in values) else "gpu"


def _read_fields(board: NvmlBoard) -> tuple[int, int | None, int]:
    """Energy in mJ, power in mW and when, in microseconds since 1970."""
    if board.answering is not None:
        energy, power = _read_now(board.answering)
        energy_mj, power_mw = _integer(energy), _integer(power)
        if energy_mj is not None and power_mw is not None:
            return energy_mj, power_mw, energy[0]
        board.answering = None
    return _read_all_fields(board)


def _read_all_fields(board: NvmlBoard) -> tuple[int, int | None, int]:
    """The first of each kind that answers; these two alone are asked for the next time."""
    wanted = _wanted_fields(board)
    board.fields = board.fields or _fields(board.handle, wanted)
    values = _read_now(board.fields)
    numbers = [_integer(value) for value in values]
    powers = len(ENERGY_FIELDS)
    answering = [index for index, number in enumerate(numbers) if number is not None]
    energy = next((index for index in answering if index < powers), None)
    power = next((index for index in answering if index >= powers), None)
    if energy is None:
        raise _field_error(board, values[:powers])
    if power is not None:
        board.answering = _fields(board.handle, [wanted[energy], wanted[power]])
    energy_mj = numbers[energy]
    assert energy_mj is not None
    return energy_mj, None if power is None else numbers[power], values[energy][0]


def _wanted_fields(board: NvmlBoard) -> list[tuple[int, int]]:
    scope = SCOPE_MODULE if board.scope == "module" else SCOPE_GPU
    return [*((field, 0) for field in ENERGY_FIELDS), *((field, scope) for field in POWER_FIELDS)]


def _fields(handle: object, wanted: Sequence[tuple[int, int]]) -> FieldValues:
    asked = _call(FIELD_VALUES, handle, wanted)
    return FieldValues(getattr(pynvml.nvmlLib, FIELD_VALUES), handle, asked)


def _read_now(fields: FieldValues) -> list[FieldValue]:
    code, values = fields.read()
    if code != pynvml.NVML_SUCCESS:
        raise _failed(FIELD_VALUES, code)
    return values


def _read_power(board: NvmlBoard) -> tuple[int, int]:
    """What the board draws in mW; SourceError where it does not say that either."""
    scope = SCOPE_MODULE if board.scope == "module" else SCOPE_GPU
    wanted = [(f, scope) for f in reversed(POWER_FIELDS)]
    values = _read_now(_fields(board.handle, wanted))
    for value in values:
        power_mw = _integer(value)
        if power_mw is not None:
            return power_mw, value[0]
    raise _field_error(board, values)


def _integer(value: FieldValue) -> int | None:
    """A field's integer; None when its own return code is an error or the number is a blank one."""
    _, kind, code, bits = value
    mask = _INTEGERS.get(kind)
    if code != pynvml.NVML_SUCCESS or mask is None:
        return None
    number = bits & mask
    return number if number < BLANK_VALUE_MIN else None


def _field_error(board: NvmlBoard, values: Sequence[FieldValue]) -> SourceError:
    codes = [code for _, _, code, _ in values]
    blank = (SourceError, reasons.BLANK_VALUE)
    unknown = (SourceError, reasons.READ_FAILED)
    kinds = [blank if code == pynvml.NVML_SUCCESS else ERRORS.get(code, unknown) for code in codes]
    # A newer field that an old driver does not know says less than the one it knows.
    kind, reason = next(
        (
            kind_and_reason
            for kind_and_reason in kinds
            if kind_and_reason[1] != reasons.NOT_SUPPORTED
        ),
        kinds[0],
    )
    said = ", ".join(_code_text(code) for code in codes)
    text = f"nvml: {board.gpu_uuid} ({board.model}) gave no energy: {said}"
    return kind(text, reason=reason, gpu_uuid=board.gpu_uuid)


def _code_text(code: int) -> str:
    return "a blank value" if code == pynvml.NVML_SUCCESS else str(pynvml.NVMLError(code))


def _report(board: NvmlBoard) -> BoardReport:
    energy_mj, power_mw, problem = None, None, None
    try:
        energy_mj, power_mw, _ = _read_fields(board)
    except SourceError as error:
        problem = str(error)
    return BoardReport(
        gpu_uuid=board.gpu_uuid,
        model=board.model,
        mig=board.mig,
        scope=board.scope,
        energy_mj=energy_mj,
        power_mw=power_mw,
        problem=problem,
    )


def _nearest(field_us: int, now_us: int) -> datetime:
    """The driver's own time of the read, unless it is missing or far from ours."""
    far = abs(field_us - now_us) > FIELD_TIME_TOLERANCE_US
    return _EPOCH + timedelta(microseconds=now_us if far else field_us)


def _call(name: str, *arguments: Any) -> Any:
    """Call NVML and turn its errors into ours by the table."""
    try:
        return getattr(pynvml, name)(*arguments)
    except pynvml.NVMLError as error:
        raise _failed(name, error.value) from error


def _failed(name: str, code: int) -> SourceError:
    kind, reason = ERRORS.get(code, (SourceError, reasons.READ_FAILED))
    return kind(f"nvml: {name} failed: {pynvml.NVMLError(code)}", reason=reason)
