"""NVIDIA's NVML to energy readings: one batched read a board, each field's own code checked first.

NVML stays open for the process's life, because without any client the driver may unload and the
counter start again. Boards are known by UUID; a MIG slice has no counter: its parent is read once.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pynvml

from collectors.errors import BoardLostError, RestartNeededError, SourceError
from collectors.reading import EnergyScope, GpuEnergyReading
from collectors.sources.epochs import CounterEpochs, read_boot_id
from collectors.sources.source import SourceSample
from ledger.wire.units import BLANK_VALUE_MIN

log = logging.getLogger(__name__)

ENERGY_FIELDS = (pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, pynvml.NVML_FI_DEV_ENERGY)
POWER_FIELDS = (pynvml.NVML_FI_DEV_POWER_AVERAGE, pynvml.NVML_FI_DEV_POWER_INSTANT)
SCOPE_GPU = pynvml.NVML_POWER_SCOPE_GPU
SCOPE_MODULE = pynvml.NVML_POWER_SCOPE_MODULE
# A board that is gone is looked for again after this many rounds, not every second.
RETRY_ROUNDS = 30
FIELD_TIME_TOLERANCE = timedelta(seconds=5)

ERRORS: Mapping[int, type[SourceError]] = MappingProxyType(
    {
        pynvml.NVML_ERROR_GPU_IS_LOST: BoardLostError,
        pynvml.NVML_ERROR_RESET_REQUIRED: BoardLostError,
        # A handle goes stale when persistence is switched off on coherent parts; a new one helps.
        pynvml.NVML_ERROR_INVALID_ARGUMENT: BoardLostError,
        pynvml.NVML_ERROR_UNINITIALIZED: RestartNeededError,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED: RestartNeededError,
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: RestartNeededError,
    }
)
_INTEGERS: Mapping[int, str] = MappingProxyType(
    {
        pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
        pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
        pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
        pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
    }
)


@dataclass(slots=True)
class NvmlBoard:
    """One physical GPU; its handle is None while it is lost, until `silent_rounds` are over."""

    gpu_uuid: str
    model: str
    handle: Any
    scope: EnergyScope
    mig: bool
    silent_rounds: int = 0


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


class NvmlSource:
    """All boards of this host that have an energy counter."""

    name = "nvml"
    finished = False

    def __init__(self, epochs: CounterEpochs) -> None:
        self._epochs = epochs
        _call("nvmlInit")
        self._boards: dict[str, NvmlBoard] = {}
        self._missing = 0
        self._round = 0
        self._discover()

    @classmethod
    def open(cls, state_path: Path) -> "NvmlSource":
        """Open the driver's library; raises SourceError when there is none."""
        return cls(CounterEpochs(state_path, boot_id=read_boot_id()))

    def sample(self, now: datetime) -> SourceSample:
        """Read every board once; a board that fails is a fault, the others are readings."""
        self._round += 1
        if self._missing and self._round % RETRY_ROUNDS == 0:
            self._discover()
        readings: list[GpuEnergyReading] = []
        faults: list[SourceError] = []
        for board in self._boards.values():
            try:
                if self._ready(board):
                    readings.append(self._read(board, now))
            except RestartNeededError:
                raise
            except SourceError as error:
                faults.append(error)
        self._epochs.save()
        return SourceSample(tuple(readings), tuple(faults))

    def report(self) -> tuple[BoardReport, ...]:
        """What each board offers now, for someone who sets a host up."""
        return tuple(_report(board) for board in self._boards.values())

    def close(self) -> None:
        """Let NVML go."""
        try:
            _call("nvmlShutdown")
        except SourceError as error:
            log.debug("nvml: %s", error)

    def _discover(self) -> None:
        """Take up boards not known yet; those known keep their handles and their silence."""
        count = _call("nvmlDeviceGetCount")
        for board in _boards(count):
            self._boards.setdefault(board.gpu_uuid, board)
        self._missing = max(0, count - len(self._boards))

    def _ready(self, board: NvmlBoard) -> bool:
        """Whether to read the board in this round; a lost one gets a new handle now and then."""
        if board.handle is not None:
            return True
        board.silent_rounds -= 1
        if board.silent_rounds > 0:
            return False
        board.silent_rounds = RETRY_ROUNDS
        board.handle = _call("nvmlDeviceGetHandleByUUID", board.gpu_uuid)
        return True

    def _read(self, board: NvmlBoard, now: datetime) -> GpuEnergyReading:
        try:
            energy_mj, power_mw, field_time = _read_fields(board)
        except BoardLostError:
            board.handle, board.silent_rounds = None, RETRY_ROUNDS
            raise
        sampled_at = _nearest(field_time, now)
        return GpuEnergyReading(
            gpu_uuid=board.gpu_uuid,
            epoch=self._epochs.observe(board.gpu_uuid, energy_mj, now=sampled_at),
            energy_mj=energy_mj,
            power_mw=power_mw,
            sampled_at=sampled_at,
            scope=board.scope,
            mig=board.mig,
        )


def _boards(count: int) -> Iterator[NvmlBoard]:
    for index in range(count):
        try:
            yield _board(_call("nvmlDeviceGetHandleByIndex", index))
        except RestartNeededError:
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
    values = _call("nvmlDeviceGetFieldValues", handle, wanted)
    return "module" if any(_integer(value) is not None for value in values) else "gpu"


def _read_fields(board: NvmlBoard) -> tuple[int, int | None, datetime | None]:
    power_scope = SCOPE_MODULE if board.scope == "module" else SCOPE_GPU
    wanted = [*((field, 0) for field in ENERGY_FIELDS), *((f, power_scope) for f in POWER_FIELDS)]
    values = _call("nvmlDeviceGetFieldValues", board.handle, wanted)
    energies, powers = values[: len(ENERGY_FIELDS)], values[len(ENERGY_FIELDS) :]
    for value in energies:
        energy_mj = _integer(value)
        if energy_mj is not None:
            power_mw = next((mw for mw in map(_integer, powers) if mw is not None), None)
            return energy_mj, power_mw, _time(value.timestamp)
    raise _field_error(board, energies)


def _integer(value: Any) -> int | None:
    """A field's integer; None when its own return code is an error or the number is a blank one."""
    attribute = _INTEGERS.get(value.valueType)
    if value.nvmlReturn != pynvml.NVML_SUCCESS or attribute is None:
        return None
    number = int(getattr(value.value, attribute))
    return number if 0 <= number < BLANK_VALUE_MIN else None


def _field_error(board: NvmlBoard, values: Any) -> SourceError:
    codes = [int(value.nvmlReturn) for value in values]
    kind = next((ERRORS[code] for code in codes if code in ERRORS), SourceError)
    said = ", ".join(_code_text(code) for code in codes)
    return kind(f"nvml: {board.gpu_uuid} ({board.model}) gave no energy: {said}")


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


def _time(microseconds: int) -> datetime | None:
    if microseconds <= 0:
        return None
    try:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(microseconds))
    except OverflowError:
        return None


def _nearest(field_time: datetime | None, now: datetime) -> datetime:
    """The driver's own time of the read, unless it is missing or far from ours."""
    if field_time is None or abs(field_time - now) > FIELD_TIME_TOLERANCE:
        return now
    return field_time


def _call(name: str, *arguments: Any) -> Any:
    """Call NVML and turn its errors into ours by the table."""
    try:
        return getattr(pynvml, name)(*arguments)
    except pynvml.NVMLError as error:
        kind = ERRORS.get(error.value, SourceError)
        raise kind(f"nvml: {name} failed: {error}") from error
