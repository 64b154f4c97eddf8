"""One board as NVML shows it: which fields answer, what they say, and what its error codes mean."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pynvml

from collectors.errors import BoardLostError, DriverGoneError, RestartNeededError, SourceError
from collectors.reading import EnergyScope
from collectors.sources.field_values import FieldValue, FieldValues
from collectors.sources.integral import PowerIntegral
from ledger.wire import meter_reasons as reasons
from ledger.wire.units import BLANK_VALUE_MIN

log = logging.getLogger(__name__)

ENERGY_FIELDS = (pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, pynvml.NVML_FI_DEV_ENERGY)
POWER_FIELDS = (pynvml.NVML_FI_DEV_POWER_AVERAGE, pynvml.NVML_FI_DEV_POWER_INSTANT)
SCOPE_GPU = pynvml.NVML_POWER_SCOPE_GPU
SCOPE_MODULE = pynvml.NVML_POWER_SCOPE_MODULE
FIELD_VALUES = "nvmlDeviceGetFieldValues"

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


def find_boards(count: int) -> Iterator[NvmlBoard]:
    """The boards that answer; one that does not is left out and logged."""
    for index in range(count):
        try:
            yield _board(call_nvml("nvmlDeviceGetHandleByIndex", index))
        except (RestartNeededError, DriverGoneError):
            raise
        except SourceError as error:
            log.warning("nvml: board %d left out for now: %s", index, error)


def _board(handle: object) -> NvmlBoard:
    uuid = str(call_nvml("nvmlDeviceGetUUID", handle))
    if uuid.startswith("MIG-"):
        handle = call_nvml("nvmlDeviceGetDeviceHandleFromMigDeviceHandle", handle)
        uuid = str(call_nvml("nvmlDeviceGetUUID", handle))
    return NvmlBoard(
        gpu_uuid=uuid,
        model=str(call_nvml("nvmlDeviceGetName", handle)),
        handle=handle,
        scope=_scope(handle),
        mig=_mig(handle),
    )


def _mig(handle: Any) -> bool:
    try:
        current, _pending = call_nvml("nvmlDeviceGetMigMode", handle)
    except SourceError:
        return False
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)


def _scope(handle: object) -> EnergyScope:
    """Whether the board answers for its whole module: then host energy must not be added again."""
    wanted = [(field, SCOPE_MODULE) for field in POWER_FIELDS]
    values = _read_now(_fields(handle, wanted))
    return "module" if any(_integer(value) is not None for value in values) else "gpu"


def read_fields(board: NvmlBoard) -> tuple[int, int | None, int]:
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
    asked = call_nvml(FIELD_VALUES, handle, wanted)
    return FieldValues(getattr(pynvml.nvmlLib, FIELD_VALUES), handle, asked)


def _read_now(fields: FieldValues) -> list[FieldValue]:
    code, values = fields.read()
    if code != pynvml.NVML_SUCCESS:
        raise _failed(FIELD_VALUES, code)
    return values


def read_power(board: NvmlBoard) -> tuple[int, int]:
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


def report_board(board: NvmlBoard) -> BoardReport:
    """What a board offers now, with the problem where it gives no energy."""
    energy_mj, power_mw, problem = None, None, None
    try:
        energy_mj, power_mw, _ = read_fields(board)
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


def call_nvml(name: str, *arguments: Any) -> Any:
    """Call NVML and turn its errors into ours by the table."""
    try:
        return getattr(pynvml, name)(*arguments)
    except pynvml.NVMLError as error:
        raise _failed(name, error.value) from error


def _failed(name: str, code: int) -> SourceError:
    kind, reason = ERRORS.get(code, (SourceError, reasons.READ_FAILED))
    return kind(f"nvml: {name} failed: {pynvml.NVMLError(code)}", reason=reason)
