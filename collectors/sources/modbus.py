"""A PDU or an electricity meter over Modbus TCP, by pymodbus where it is installed."""

import struct
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from importlib import import_module
from types import ModuleType

from collectors.errors import CollectSettingsError, SourceError
from collectors.source_settings import SourceSettings
from collectors.sources.host_clock import since_boot_us
from collectors.sources.metered import MeterReadings
from collectors.sources.source import SourceSample
from ledger.wire import meter_reasons as reasons
from ledger.wire.units import MJ_PER_J

DEFAULT_PORT = 502
# All bits of a register set: what it would hold is not measured.
UNSET = 0xFFFF
FORMS = {"u16": (1, ">H"), "u32": (2, ">I"), "u64": (4, ">Q"), "f32": (2, ">f")}


@dataclass(slots=True)
class ModbusSource:
    """One value in the input or holding registers of one device."""

    pymodbus: ModuleType
    settings: SourceSettings
    host: str
    port: int
    readings: MeterReadings
    name: str = "modbus"
    finished: bool = False

    def sample(self, now: datetime) -> SourceSample:
        """Read it once."""
        value = read_value(self._registers(), self.settings.value_type)
        amount = int(value * self.settings.unit_scale * MJ_PER_J)
        if self.settings.quantity == "energy":
            return SourceSample((self.readings.counter(amount, now, method="meter"),))
        return SourceSample((self.readings.power(amount, now, since_boot_us()),))

    def close(self) -> None:
        """Nothing is held."""

    def _registers(self) -> list[int]:
        count, _ = FORMS[self.settings.value_type]
        timeout_s = float(self.settings.timeout_s)
        client = self.pymodbus.client.ModbusTcpClient(
            self.host, port=self.port, timeout=timeout_s, retries=0
        )
        try:
            if not client.connect():
                raise self._silent("no connection")
            answer = client.read_holding_registers(
                self.settings.address, count=count, device_id=self.settings.device
            )
        except (self.pymodbus.ModbusException, OSError) as error:
            raise self._silent(str(error)) from error
        finally:
            client.close()
        if answer.isError():
            raise self._silent(f"answered {answer}")
        return list(answer.registers)

    def _silent(self, why: str) -> SourceError:
        return SourceError(
            f"modbus {self.host}:{self.port}: {why}",
            reason=reasons.SOURCE_SILENT,
            gpu_uuid=self.readings.meter,
        )


def open_modbus(settings: SourceSettings) -> ModbusSource:
    """The device at `url` (host or host:port)."""
    try:
        library = import_module("pymodbus")
        import_module("pymodbus.client")
    except ImportError as error:
        raise CollectSettingsError(
            "source modbus: pymodbus is not installed; install tokenledger[meters]"
        ) from error
    host, _, port = settings.url.partition(":")
    if not host or (port and not port.isdecimal()):
        raise CollectSettingsError("source modbus: write url as host or host:port")
    readings = MeterReadings.of(settings)
    return ModbusSource(library, settings, host, int(port or DEFAULT_PORT), readings)


def read_value(registers: list[int], form: str) -> Decimal:
    """Registers, high word first, as a number; SourceError where it is none or negative."""
    count, code = FORMS[form]
    if len(registers) != count:
        raise SourceError(f"modbus: {len(registers)} registers for {form}")
    (number,) = struct.unpack(code, struct.pack(f">{count}H", *registers))
    value = Decimal(str(number))
    if not value.is_finite() or value < 0 or set(registers) == {UNSET}:
        raise SourceError(f"modbus: found {value}, no amount", reason=reasons.BLANK_VALUE)
    return value
