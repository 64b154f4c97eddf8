"""Meters of a host, and boards of AMD: what stands for no number is no reading."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest

from collectors.errors import SourceError
from collectors.source_settings import SourceSettings
from collectors.sources import open_source
from collectors.sources.commands import DCMI, NUMBER
from collectors.sources.modbus import read_value
from collectors.sources.rapl import Zone, open_rapl
from collectors.sources.redfish import read_redfish
from tests.collectors.servers import serving

NOW = datetime(2026, 8, 1, 10, tzinfo=UTC)


def powercap(folder: Path, zones: dict[str, tuple[str, int]]) -> Path:
    for place, (name, used) in zones.items():
        (folder / place).mkdir(exist_ok=True)
        (folder / place / "name").write_text(name)
        (folder / place / "energy_uj").write_text(str(used))
        (folder / place / "max_energy_range_uj").write_text("262143328850")
    return folder


def test_rapl_adds_packages_and_memory_over_the_turn_of_a_counter(tmp_path: Path) -> None:
    zones = {
        "intel-rapl:0": ("package-0", 262_143_000_000),
        "intel-rapl:0:0": ("core", 5),
        "intel-rapl:1": ("package-1", 0),
        "intel-rapl:1:0": ("dram", 0),
    }
    source = open_rapl(SourceSettings(kind="rapl", meter="host-1", path=powercap(tmp_path, zones)))
    assert source.sample(NOW, 0).energy[0].energy_mj == 0
    zones |= {
        "intel-rapl:0": ("package-0", 100_000_000 - 328_851),
        "intel-rapl:1": ("package-1", 50_000_000),
        "intel-rapl:1:0": ("dram", 7_000_000),
    }
    powercap(tmp_path, zones)
    (reading,) = source.sample(NOW, 1_000_000).energy
    assert reading.energy_mj == 100_000 + 50_000 + 7_000
    assert (reading.gpu_uuid, reading.method) == ("host-1", "rapl")


def test_rapl_after_a_silence_that_may_hide_a_turn_begins_again(tmp_path: Path) -> None:
    zone = Zone(powercap(tmp_path, {"z": ("package-0", 5)}) / "z", 262_143_328_850)
    assert zone.grown_uj(0) == 0
    assert zone.grown_uj(3_600_000_000) is None


def test_rapl_that_begins_again_is_no_turn_of_its_counter(tmp_path: Path) -> None:
    zones = {"intel-rapl:0": ("package-0", 90_000_000_000)}
    source = open_rapl(SourceSettings(kind="rapl", meter="host-1", path=powercap(tmp_path, zones)))
    (before,) = source.sample(NOW, 0).energy
    powercap(tmp_path, {"intel-rapl:0": ("package-0", 3_000_000_000)})
    (after,) = source.sample(NOW, 60_000_000).energy
    assert (after.energy_mj, after.epoch == before.epoch) == (0, False)
    powercap(tmp_path, {"intel-rapl:0": ("package-0", 9_000_000_000)})
    (on,) = source.sample(NOW, 120_000_000).energy
    assert (on.energy_mj, on.epoch) == (6_000_000, after.epoch)


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({"PowerControl": [{"PowerConsumedWatts": 344}]}, (344, None)),
        ({"PowerWatts": {"Reading": 374}, "EnergykWh": {"Reading": 11}}, (374, 11)),
        ({"PowerControl": []}, (None, None)),
        ({"PowerControl": [{"PowerConsumedWatts": None}]}, (None, None)),
        ([], (None, None)),
    ],
)
def test_redfish_says_power_or_energy_or_nothing(
    answer: object, found: tuple[int | None, int | None]
) -> None:
    assert read_redfish(answer) == found


def test_redfish_is_asked_with_its_password(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("p@ss\n")
    body = json.dumps({"EnergykWh": {"Reading": 1.5}, "PowerWatts": {"Reading": 300}})
    with serving(lambda _: (200, {}, body.encode())) as url:
        settings = SourceSettings(
            kind="redfish", meter="host-1", url=url, user="root", secret_file=secret
        )
        source = open_source(settings)
        (reading,) = source.sample(NOW).energy
        source.close()
    assert (reading.energy_mj, reading.power_mw) == (5_400_000_000, 300_000)
    assert reading.method == "meter"


KWH = {"quantity": "energy", "unit_scale": "3600000"}
SWITCHED_OFF = """
    Instantaneous power reading:                     0 Watts
    Power reading state is:                   deactivated
"""


@pytest.mark.parametrize(
    ("pattern", "printed", "number"),
    [
        (NUMBER, "1234.5\n", "1234.5"),
        (NUMBER, '"1234.5 W"', "1234.5"),
        (NUMBER, "1,234", None),
        (NUMBER, "12,5", None),
        (NUMBER, "1.2.3", None),
        (DCMI, SWITCHED_OFF.replace("deactivated", "activated"), "0"),
        (DCMI, SWITCHED_OFF, None),
    ],
)
def test_what_a_tool_prints_is_one_number_or_none(
    pattern: re.Pattern[str], printed: str, number: str | None
) -> None:
    match = pattern.search(printed)
    assert (match and match[1]) == number


@pytest.mark.parametrize(
    ("kind", "tool", "prints", "more", "energy_mj"),
    [
        ("ipmi", "ipmitool", "    Instantaneous power reading:    220 Watts", {}, 0),
        ("snmp", "snmpget", "1234.5", KWH, 4_444_200_000_000),
    ],
)
def test_tools_of_the_host_are_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    tool: str,
    prints: str,
    more: dict[str, str],
    energy_mj: int,
) -> None:
    (tmp_path / tool).write_text(f"#!/bin/sh\necho '{prints}'\n")
    (tmp_path / tool).chmod(0o755)
    (tmp_path / "community").write_text("public")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    extra = {name: Decimal(v) if name == "unit_scale" else v for name, v in more.items()}
    settings = SourceSettings(
        kind=kind,
        meter="host-1",
        url="pdu:161",
        oid="1.3.6.1.4.1.1",
        secret_file=tmp_path / "community",
        **extra,  # type: ignore[arg-type]
    )
    (reading,) = open_source(settings).sample(NOW).energy
    assert (reading.gpu_uuid, reading.energy_mj) == ("host-1", energy_mj)
    (tmp_path / tool).write_text("#!/bin/sh\necho No reading\n")
    with pytest.raises(SourceError, match="no number") as refused:
        open_source(settings).sample(NOW)
    assert (refused.value.reason, refused.value.gpu_uuid) == ("source_silent", "host-1")


@pytest.mark.parametrize(
    ("registers", "form", "value"),
    [
        ([7], "u16", "7"),
        ([1, 2], "u32", "65538"),
        ([0, 0, 1, 0], "u64", "65536"),
        ([0x43AF, 0x8000], "f32", "351.0"),
    ],
)
def test_registers_are_numbers_high_word_first(registers: list[int], form: str, value: str) -> None:
    assert read_value(registers, form) == Decimal(value)


@pytest.mark.parametrize("registers", [[0x7FC0, 0], [0xC3AF, 0x8000], [1]])
def test_registers_that_are_no_amount_are_refused(registers: list[int]) -> None:
    with pytest.raises(SourceError):
        read_value(registers, "f32")


@pytest.mark.parametrize(("form", "count"), [("u16", 1), ("u32", 2), ("u64", 4)])
def test_registers_with_all_bits_set_hold_nothing(form: str, count: int) -> None:
    with pytest.raises(SourceError) as refused:
        read_value([0xFFFF] * count, form)
    assert refused.value.reason == "blank_value"


def test_a_meter_over_modbus_is_read(tmp_path: Path) -> None:
    pytest.importorskip("pymodbus")
    program = tmp_path / "server.py"
    program.write_text(SERVER)
    with subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        settings = SourceSettings(
            kind="modbus", meter="site", url=f"127.0.0.1:{port}", address=10, value_type="u32"
        )
        try:
            source = open_source(settings)
            (reading,) = source.sample(NOW).energy
        finally:
            server.terminate()
    assert reading.power_mw == 65_538_000
    with pytest.raises(SourceError, match="no connection"):
        source.sample(NOW)


SERVER = """
import socket, struct
with socket.create_server(("127.0.0.1", 0)) as listening:
    print(listening.getsockname()[1], flush=True)
    while True:
        asking, _ = listening.accept()
        with asking:
            head = asking.recv(12)
            if len(head) == 12:
                transaction, _, _, unit, function, address, count = struct.unpack(">HHHBBHH", head)
                assert (function, address, count) == (3, 10, 2)
                asking.sendall(struct.pack(">HHHBBBHH", transaction, 0, 7, unit, 3, 4, 1, 2))
"""


class AmdError(Exception):
    """As the library's own."""


def amd_library(monkeypatch: pytest.MonkeyPatch, counted: dict[str, object]) -> None:
    smi = ModuleType("amdsmi")
    functions = {
        "AmdSmiException": AmdError,
        "amdsmi_init": lambda: None,
        "amdsmi_shut_down": lambda: None,
        "amdsmi_get_processor_handles": lambda: ["h0"],
        "amdsmi_get_gpu_device_uuid": lambda _: "4aff74a1-0000-1000-80c2-2dc5c9ee0a10",
        "amdsmi_get_energy_count": lambda _: counted,
        "amdsmi_get_power_info": lambda _: {"current_socket_power": 350, "socket_power": "N/A"},
    }
    for name, value in functions.items():
        setattr(smi, name, value)
    monkeypatch.setitem(sys.modules, "amdsmi", smi)


def test_amd_counts_steps_of_a_resolution(monkeypatch: pytest.MonkeyPatch) -> None:
    amd_library(monkeypatch, {"energy_accumulator": 10_000_000, "counter_resolution": 15.3})
    (reading,) = open_source(SourceSettings(kind="amd")).sample(NOW).energy
    assert (reading.energy_mj, reading.power_mw) == (153_000, 350_000)
    assert reading.method == "amd_counter"


def test_amd_with_all_bits_set_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    amd_library(monkeypatch, {"energy_accumulator": 2**64 - 1, "counter_resolution": 15.3})
    (fault,) = open_source(SourceSettings(kind="amd")).sample(NOW).faults
    assert fault.reason == "not_supported"
    amd_library(monkeypatch, {"energy_accumulator": 10_000_000, "counter_resolution": 15.3})
    smi = sys.modules["amdsmi"]
    monkeypatch.setattr(smi, "amdsmi_get_power_info", lambda _: {"average_socket_power": 65_535})
    (reading,) = open_source(SourceSettings(kind="amd")).sample(NOW).energy
    assert (reading.energy_mj, reading.power_mw) == (153_000, None)


def test_amd_without_a_counter_or_a_library_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    amd_library(monkeypatch, {"energy_accumulator": "N/A"})
    (fault,) = open_source(SourceSettings(kind="amd")).sample(NOW).faults
    assert fault.reason == "not_supported"
    monkeypatch.setitem(sys.modules, "amdsmi", None)
    with pytest.raises(SourceError, match="not installed"):
        open_source(SourceSettings(kind="amd"))
