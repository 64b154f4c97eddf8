"""Every other place of energy numbers: each says its unit, and what it does not say is no zero."""

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from collectors.errors import CollectSettingsError, SourceError
from collectors.reading import GpuEnergyReading, MeterGapReading
from collectors.settings import load_settings
from collectors.source_settings import SourceSettings
from collectors.sources import open_named, open_nvml, open_source
from collectors.sources.dcgm import read_dcgm
from collectors.sources.integral import PowerIntegral
from collectors.sources.metered import MeterReadings
from collectors.sources.record import Recording
from collectors.sources.replay import ReplaySource
from collectors.sources.source import Source, SourceSample
from collectors.sources.triton import read_triton
from collectors.sources.watch import WatchedSource
from ledger.wire.parse import explain
from tests.collectors.servers import serving

NOW = datetime(2026, 8, 1, 10, tzinfo=UTC)
ENERGY = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
LINE = '{name}{{gpu="0",UUID="GPU-1"{more}}} {value}\n'


def page(name: str, value: str, said: str = "", more: str = "") -> str:
    return said + LINE.format(name=name, value=value, more=more)


def test_dcgm_says_millijoules_in_its_help() -> None:
    said = f"# HELP {ENERGY} Total energy consumption since boot (in mJ).\n"
    power = "# HELP DCGM_FI_DEV_POWER_USAGE Power draw (in W).\n"
    text = page(ENERGY, "4611203948112", said) + page("DCGM_FI_DEV_POWER_USAGE", "412.5", power)
    (reading,) = read_dcgm(text, NOW).energy
    assert (reading.gpu_uuid, reading.energy_mj) == ("GPU-1", 4_611_203_948_112)
    assert (reading.power_mw, reading.method, reading.mig) == (412_500, "dcgm", False)
    assert explain(reading.to_event(recorded_at=NOW) | {"id": "1", "source": "/s"}) == ()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION_JOULES", ""),
        ("dcgm_gpu_energy_joules_total", ""),
        (ENERGY, f"# HELP {ENERGY} Total energy consumption (in J).\n"),
        (ENERGY, f"# HELP {ENERGY} Total energy.\n# UNIT {ENERGY} joules\n"),
    ],
)
def test_dcgm_of_other_names_and_units_is_the_same_energy(name: str, said: str) -> None:
    (reading,) = read_dcgm(page(name, "4611203948.112", said), NOW).energy
    assert reading.energy_mj == 4_611_203_948_112


GPU_ENERGY = "gpu_energy_consumed"


@pytest.mark.parametrize(
    ("name", "said", "energy_mj"),
    [
        ("gpu_energy_microjoules", "", 7),
        ("gpu_energy_watt_hours_total", "", 25_200_000_000),
        ("gpu_energy_kwh_total", "", 25_200_000_000_000),
        ("gpu_energy_kj_total", "", 7_000_000_000),
        (GPU_ENERGY, "in uJ", 7),
        (GPU_ENERGY, "in \u00b5J", 7),
        (GPU_ENERGY, "in micro Joules", 7),
        (GPU_ENERGY, "(mJ)", 7_000),
        (GPU_ENERGY, "in MJ", 7_000_000_000_000),
        (GPU_ENERGY, "in kilojoules", 7_000_000_000),
        (GPU_ENERGY, "in Wh, integrated from W", 25_200_000_000),
        (GPU_ENERGY, "in watt-hours", 25_200_000_000),
    ],
)
def test_units_of_every_size_are_read_as_what_they_are(
    name: str, said: str, energy_mj: int
) -> None:
    (reading,) = read_dcgm(page(name, "7000", f"# HELP {name} Energy {said}\n"), NOW).energy
    assert reading.energy_mj == energy_mj


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (GPU_ENERGY, "in joules, a thousandth of the millijoules of NVML"),
        (GPU_ENERGY, "while it drew so many watts"),
        ("gpu_energy_mwh_total", "of the board"),
    ],
)
def test_an_energy_that_says_two_units_or_another_quantitys_is_not_read(
    name: str, said: str
) -> None:
    sample = read_dcgm(page(name, "7", f"# HELP {name} Energy {said}\n"), NOW)
    assert sample.energy == ()
    assert [fault.reason for fault in sample.faults] == ["unit_unknown"]


def test_power_has_its_own_unit() -> None:
    said = f"# HELP {GPU_ENERGY} in mJ\n# HELP gpu_power_usage in kW\n"
    text = said + page(GPU_ENERGY, "7") + page("gpu_power_usage", "0.3")
    (reading,) = read_dcgm(text, NOW).energy
    assert (reading.energy_mj, reading.power_mw) == (7, 300_000)


def test_dcgm_power_that_is_none_and_when_a_counter_began_are_no_readings() -> None:
    name = "dcgm_gpu_energy_joules_total"
    began = page("dcgm_gpu_energy_joules_created", "1786000000.25")
    watts = page("dcgm_gpu_power_usage_watts", "140737488355328")
    (reading,) = read_dcgm(began + page(name, "4611.203") + watts, NOW).energy
    assert (reading.energy_mj, reading.power_mw) == (4_611_203, None)


def test_an_energy_without_a_unit_is_told_and_not_read() -> None:
    sample = read_dcgm(page(ENERGY, "4611203948112"), NOW)
    assert sample.energy == ()
    assert [(f.gpu_uuid, f.reason) for f in sample.faults] == [("GPU-1", "unit_unknown")]


def test_a_gpu_in_slices_is_read_once_and_a_blank_value_never() -> None:
    said = f"# HELP {ENERGY} Total energy consumption since boot (in mJ).\n"
    slices = [page(ENERGY, f"18203312044{n}", more=f',GPU_I_ID="{n}"') for n in (17, 19, 18)]
    text = said + "".join(slices) + page(ENERGY, "9223372036854775794").replace("GPU-1", "GPU-2")
    (reading,) = read_dcgm(text, NOW).energy
    assert (reading.energy_mj, reading.mig) == (1_820_331_204_419, True)


def test_a_counter_that_becomes_a_thousandth_is_told() -> None:
    values = [(0, 4_611_203_948_112), (1, 4_611_204_248), (2, 4_611_204_548)]
    told = [gap.reason for gap in watched([energy(s, mj) for s, mj in values])]
    assert told == ["unit_changed"]


def energy(second: int, energy_mj: int) -> SourceSample:
    at = NOW + timedelta(seconds=second)
    reading = GpuEnergyReading(gpu_uuid="GPU-1", epoch="e", energy_mj=energy_mj, sampled_at=at)
    return SourceSample((reading,))


class Scripted:
    """A source that gives what it is told to give."""

    name, finished = "scripted", False

    def __init__(self, samples: list[SourceSample]) -> None:
        self.samples = samples

    def sample(self, now: datetime) -> SourceSample:  # noqa: ARG002
        return self.samples.pop(0)

    def close(self) -> None:
        """Nothing is held."""


def watched(samples: list[SourceSample]) -> list[MeterGapReading]:
    ticks = iter(range(0, len(samples) * 1_000_000, 1_000_000))
    source = WatchedSource(Scripted(samples), clock=lambda: next(ticks), boot_id="b")
    found = []
    for second in range(len(samples)):
        sample = source.sample(NOW + timedelta(seconds=second))
        found += [one for one in sample.readings if isinstance(one, MeterGapReading)]
    return found


def test_a_meter_read_each_minute_is_no_silence_and_is_integrated() -> None:
    settings = SourceSettings(kind="ipmi", meter="host-1", interval_s=Decimal(60))
    read = MeterReadings.of(settings)
    samples = [SourceSample((read.power(200_000, NOW, n * 60_000_000),)) for n in range(3)]
    ticks = iter((0, 60_000_000, 120_000_000))
    source = WatchedSource(
        Scripted(samples), clock=lambda: next(ticks), boot_id="b", silence_us=180_000_000
    )
    taken = [source.sample(NOW + timedelta(minutes=n)) for n in range(3)]
    assert [len(one.readings) - len(one.energy) for one in taken] == [1, 0, 0]
    assert taken[-1].energy[0].energy_mj == 120 * 200_000


def test_triton_counts_joules() -> None:
    text = (
        'nv_energy_consumption{gpu_uuid="GPU-1"} 5620331.918\n'
        'nv_gpu_power_usage{gpu_uuid="GPU-1"} 412.5\n'
        'nv_energy_consumption{gpu_uuid="GPU-2"} NaN\n'
    )
    (reading,) = read_triton(text, NOW).energy
    assert (reading.energy_mj, reading.power_mw) == (5_620_331_918, 412_500)
    with pytest.raises(SourceError, match="no energy"):
        read_triton("up 1\n", NOW)


def recording(folder: Path, rows: list[str], columns: str = "timestamp, power.draw [W]") -> Path:
    path = folder / "smi.csv"
    path.write_text("\n".join([columns, *rows]), encoding="utf-8")
    return path


def smi(path: Path, zone: str = "UTC") -> Source:
    return open_source(SourceSettings(kind="nvidia_smi", meter="GPU-1", path=path, zone=zone))


def test_a_power_recording_is_integrated_and_its_times_are_of_its_zone(tmp_path: Path) -> None:
    rows = ["2023/07/14 10:12:46.000, 100.00 W", "2023/07/14 10:12:48.000, 300.00 W"]
    source = smi(recording(tmp_path, [*rows, "2023/07/14 10:12:49.000, [N/A]"]), "Europe/London")
    first, last = source.sample(NOW).energy
    assert (first.energy_mj, last.energy_mj) == (0, 400_000)
    assert last.sampled_at == datetime(2023, 7, 14, 9, 12, 48, tzinfo=UTC)
    assert (last.method, last.quality) == ("power_integral", "estimated")
    assert source.finished


@pytest.mark.parametrize("column", ["index", "pci.bus_id", "name"])
def test_boards_without_their_uuids_are_not_read_as_one(tmp_path: Path, column: str) -> None:
    rows = [f"2023/07/14 10:12:4{n}.000, {n % 2}, 100.00 W" for n in range(4)]
    recorded = recording(tmp_path, rows, f"timestamp, {column}, power.draw [W]")
    with pytest.raises(SourceError, match=r"row 2 is of another GPU; record the column uuid"):
        smi(recorded).sample(NOW)


@pytest.mark.parametrize("column", ["uuid", "gpu_uuid"])
def test_boards_with_their_uuids_are_integrated_apart(tmp_path: Path, column: str) -> None:
    rows = [f"2023/07/14 10:12:4{n}.000, {n % 2}, GPU-{n % 2}, {n % 2 + 1}.00 W" for n in range(4)]
    recorded = recording(tmp_path, rows, f"timestamp, index, {column}, power.draw [W]")
    read = smi(recorded).sample(NOW).energy
    assert [(each.gpu_uuid, each.energy_mj) for each in read[-2:]] == [
        ("GPU-0", 2_000),
        ("GPU-1", 4_000),
    ]


def test_an_hour_that_the_clocks_showed_twice_is_measured_twice(tmp_path: Path) -> None:
    start = datetime(2023, 10, 29, 0, 30, tzinfo=UTC)
    instants = [start + timedelta(seconds=5 * n) for n in range(1_441)]
    zone = ZoneInfo("Europe/Brussels")
    rows = [
        f"{at.astimezone(zone):%Y/%m/%d %H:%M:%S}.000, {100 + n % 2}.00 W"
        for n, at in enumerate(instants)
    ]
    readings = smi(recording(tmp_path, rows), zone.key).sample(NOW).energy
    assert [each.sampled_at for each in readings] == instants
    assert readings[-1].energy_mj == 7_200 * 100_500


def test_a_sensor_that_is_stuck_is_told_and_not_measured(tmp_path: Path) -> None:
    start = datetime(2023, 12, 18, 17)  # noqa: DTZ001
    times = [start + timedelta(seconds=n / 2) for n in range(1_000)]
    rows = [f"{at:%Y/%m/%d %H:%M:%S.%f}, 46.19 W" for at in times]
    sample = smi(recording(tmp_path, rows)).sample(NOW)
    first, last = (one for one in sample.readings if isinstance(one, MeterGapReading))
    assert (first.reason, first.since) == ("sensor_stuck", last.since)
    assert (last.until - last.since).total_seconds() == 499.5
    assert sample.energy[-1].energy_mj == 46_190 * 119 // 2


@pytest.mark.parametrize("row", ["yesterday, 1 W", ", 1 W"])
def test_a_row_that_is_none_is_named(tmp_path: Path, row: str) -> None:
    with pytest.raises(SourceError, match="row 1"):
        smi(recording(tmp_path, [row])).sample(NOW)


def test_the_square_wave_of_an_a100_by_the_trapezoid_rule() -> None:
    path = Path(__file__).parents[1] / "golden" / "energy" / "nvsmi_a100_square_wave.csv.gz"
    readings = smi(path, "Europe/London").sample(NOW).energy
    took = readings[-1].sampled_at - readings[0].sampled_at
    assert took == timedelta(seconds=12, milliseconds=678)
    assert abs(readings[-1].energy_mj - 1_308_797) <= 1


def test_a_trapezoid_loses_no_part_of_a_millijoule() -> None:
    integral = PowerIntegral()
    for n in range(100_001):
        integral.add(3, n * 1_000)
    assert integral.energy_mj == 3 * 100


def test_what_is_recorded_is_what_replay_reads(tmp_path: Path) -> None:
    at = NOW
    reading = GpuEnergyReading(
        gpu_uuid="GPU-1",
        epoch="e",
        energy_mj=5,
        sampled_at=at,
        power_mw=7,
        method="dcgm",
        quality="estimated",
        scope="module",
        mig=True,
        boot_id="b",
        driver_load="d",
        monotonic_us=9,
    )
    gap = MeterGapReading(gpu_uuid="GPU-1", reason="gpu_lost", since=at, until=at, detail="XID 79")
    path = tmp_path / "kept.ndjson"
    source = Recording(Scripted([SourceSample((reading, gap))]), path)
    assert source.sample(NOW).readings == (reading, gap)
    source.close()
    replayed = ReplaySource(path, start=NOW, speed=Decimal(0))
    assert replayed.sample(NOW).readings == (reading, gap)


def test_sources_are_named_in_the_settings_and_read_beside_each_other(tmp_path: Path) -> None:
    with serving(lambda _: (200, {}, b'nv_energy_consumption{gpu_uuid="GPU-1"} 1.5\n')) as url:
        sources = [
            {"kind": "triton", "url": url},
            {"kind": "triton", "url": "http://127.0.0.1:9", "meter": "x"},
        ]
        settings = load_settings(None, spool_dir=tmp_path, sources=sources, nvml="off")
        source = open_named(settings, NOW)
        assert source is not None
        found: list[object] = []
        for _ in range(100):
            sample = source.sample(NOW)
            found += [*sample.energy, *sample.faults]
            if len(found) > 1:
                break
            threading.Event().wait(0.05)
        source.close()
    assert {type(one) for one in found} == {GpuEnergyReading, SourceError}


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"kind": "dcgn"}, "no kind 'dcgn'; there are dcgm, triton"),
        ({"kind": "rapl"}, "name its meter"),
        ({"kind": "snmp", "meter": "m"}, "name url"),
        ({"kind": "modbus", "meter": "m", "url": "h:x"}, "host:port"),
        ({"kind": "nvidia_smi"}, "name the path"),
        ({"kind": "redfish", "meter": "m", "url": "http://h", "user": "u"}, "secret_file"),
    ],
)
def test_a_source_that_is_not_said_whole_is_refused(source: dict[str, str], says: str) -> None:
    settings = load_settings(None, sources=[source], nvml="off")
    with pytest.raises(CollectSettingsError, match=says):
        open_named(settings, NOW)


def test_a_host_without_nvml_is_told_unless_something_else_is_collected(tmp_path: Path) -> None:
    settings = load_settings(None, spool_dir=tmp_path)
    with pytest.raises(SourceError):
        open_nvml(settings, NOW)
    beside = load_settings(None, spool_dir=tmp_path, sources=[{"kind": "amd"}])
    source = open_nvml(beside, NOW)
    assert source is not None
    (gap,) = source.sample(NOW).readings
    assert isinstance(gap, MeterGapReading)
    assert (gap.gpu_uuid, gap.reason) == ("source:nvml", "library_missing")
