"""What `make gpu` measures is what a board of known power does; a stub library is that board."""

import gzip
import json
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from benchmarks.collector_host import POWER_MW, build_stub, environment
from benchmarks.gpu import Sample, agreement, energy_of, spread
from benchmarks.gpu_host import Phase
from collectors.sources.replay import ReplaySource

ROOT = Path(__file__).parents[2]
MEASURE = """
import sys, time
from pathlib import Path
import benchmarks.gpu as gpu
from benchmarks.gpu_host import Load, Phase
gpu.PERIOD_S, gpu.AGREEMENT_S, gpu.CALLS = 0.3, 0.5, 50
def work(folder, started):
    started()
    phases = []
    for batch in (1, 8):
        time.sleep(0.1)
        said = {"name": "decode", "batch": batch, "prompt_tokens": 20 * batch, "steps": 80}
        said |= {"output_tokens": 80 * batch, "prefill_s": 0.1, "decode_s": 0.3}
        said["began_s"] = time.monotonic()
        time.sleep(0.4)
        phases.append(Phase(**said, ended_s=time.monotonic()))
    time.sleep(0.1)
    return Load(phases, [{"id": "used"}]), [{"id": "read"}]
print(gpu.measure(gpu.Gpu(), work, Path(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpu")
    command = [sys.executable, "-c", MEASURE, str(folder / "out")]
    done = subprocess.run(
        command,
        env=environment(build_stub(folder), start=0),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def test_a_board_of_constant_power_is_measured_as_one(measured: Path) -> None:
    found: dict[str, Any] = json.loads(measured.read_text())
    assert found["gpu"] == "NVIDIA H100 80GB HBM3"
    assert found["call_us"].keys() == {"counter", "power", "fields"}
    assert found["counter_update_ms_idle"]["count"] > 10
    for name in ("counter_against_power_idle", "counter_against_power_loaded"):
        assert found[name]["ratio"] == pytest.approx(1, abs=0.01)
    phases = found["phases"]
    assert [(one["name"], one["batch"], one["output_tokens"]) for one in phases] == [
        ("decode", 1, 80),
        ("decode", 8, 640),
    ]
    for one in phases:
        assert one["watts"] == pytest.approx(POWER_MW / 1_000, rel=0.02)
        assert one["joules_per_token"] == pytest.approx(
            one["joules"] / (100 * one["batch"]), abs=1e-5
        )


def test_its_recording_is_one_that_replay_reads(measured: Path) -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    path = measured.with_suffix(".csv.gz")
    source = ReplaySource(path, start=now, speed=Decimal(0))
    readings = source.sample(now).energy
    assert len(readings) > 20
    seconds = (readings[-1].sampled_at - readings[0].sampled_at).total_seconds()
    joules = (readings[-1].energy_mj - readings[0].energy_mj) / 1_000
    assert joules == pytest.approx(seconds * POWER_MW / 1_000, rel=0.01)


def test_what_was_read_and_used_is_kept_as_it_is_sent(measured: Path) -> None:
    with gzip.open(measured.with_suffix(".ndjson.gz"), "rt") as file:
        assert [json.loads(line)["id"] for line in file] == ["read", "used"]


def ramp(watts: list[int]) -> list[Sample]:
    """A look a second at a board whose power changes in steps of a second."""
    samples, energy_mj = [Sample(0, 0, watts[0] * 1_000)], 0
    for second, power in enumerate(watts, 1):
        energy_mj += power * 1_000
        samples.append(Sample(second, energy_mj, power * 1_000))
    return samples


def test_a_phase_between_two_looks_has_its_share() -> None:
    found = energy_of(
        Phase("prefill", 4, 40, 10, 2, 2.0, 0.0, 1.5, 3.5), ramp([100, 200, 300, 400])
    )
    assert found["joules"] == 100 + 300 + 200
    assert found["joules_per_token"] == 12


def test_a_phase_that_was_not_recorded_is_an_error() -> None:
    with pytest.raises(ValueError, match="no samples"):
        energy_of(Phase("prefill", 4, 40, 10, 2, 6.0, 0.0, 3.0, 9.0), ramp([100, 100]))


def test_a_counter_that_stands_still_agrees_with_no_power() -> None:
    still = [Sample(second, 5, 300_000) for second in range(4)]
    assert agreement(still) == {"counter_j": 0.0, "power_integral_j": 900.0, "ratio": 0.0}
    assert spread([1.0]) == {"count": 1}


def test_without_a_gpu_it_says_so_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu"],
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        pytest.skip("THIS MACHINE HAS A GPU: what is said without one is not tested here")
    assert done.stderr.startswith("error: no NVIDIA GPU")
    assert done.stderr.count("\n") == 1
