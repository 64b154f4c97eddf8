"""The real NVML binding, loading a scripted library, gives honest readings through every mishap."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import lacking

STUB = Path(__file__).parent / "nvml_stub"
ROOT = Path(__file__).parents[2]
A, B = "GPU-aaaa", "GPU-bbbb"
Rounds = list[dict[str, Any]]
Run = Callable[..., Rounds]


@pytest.fixture(scope="session")
def stub_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        lacking("NO C COMPILER: the NVML source is not tested on this machine")
    folder = tmp_path_factory.mktemp("nvml")
    library = folder / "libnvidia-ml.so.1"
    command = [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-O1", "-o", str(library)]
    subprocess.run([*command, str(STUB / "nvml_stub.c")], check=True)
    return folder


@pytest.fixture
def run(stub_folder: Path, tmp_path: Path) -> Run:
    def sample(script: str, *times: int, boot_id: str = "boot-1") -> Rounds:
        (tmp_path / "script").write_text(script, encoding="ascii")
        environment = os.environ | {
            "LD_LIBRARY_PATH": str(stub_folder),
            "PYTHONPATH": str(ROOT),
            "NVML_STUB_SCRIPT": str(tmp_path / "script"),
            "NVML_STUB_NOW": str(tmp_path / "now"),
        }
        command = [sys.executable, str(STUB / "sample_boards.py"), str(tmp_path / "epochs.json")]
        done = subprocess.run(
            [*command, boot_id, *map(str, times)],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        rounds: Rounds = json.loads(done.stdout)
        return rounds

    return sample


def of(rounds: Rounds, index: int, uuid: str = A) -> dict[str, Any]:
    reading: dict[str, Any] = rounds[index]["readings"][uuid]
    return reading


def test_energy_follows_the_power_curve_in_steps_of_100_ms(run: Run) -> None:
    rounds = run(f"{A} 0 power 300000\n{A} 2000 power 700000\n", 50, 1050, 2000, 3000)
    assert [of(rounds, n)["energy_mj"] for n in range(4)] == [0, 300_000, 600_000, 1_300_000]
    assert [of(rounds, n)["power_mw"] for n in range(4)] == [300_000, 300_000, 700_000, 700_000]
    assert of(rounds, 1)["sampled_at"] == "1970-01-01T00:00:01.050000+00:00"


def test_one_epoch_names_one_life_of_the_counter(run: Run) -> None:
    rounds = run(f"{A} 0 power 100000\n{A} 1500 reset 0\n", 1000, 1100, 2000, 3000)
    epochs = [of(rounds, n)["epoch"] for n in range(4)]
    assert epochs[0] == epochs[1] != epochs[2] == epochs[3]
    assert of(rounds, 2)["energy_mj"] == 50_000, "raw, never clamped and never added to the old"


def test_the_epoch_survives_a_restart_of_the_collector(run: Run) -> None:
    script = f"{A} 0 power 100000\n"
    assert of(run(script, 1000), 0)["epoch"] == of(run(script, 5000), 0)["epoch"]


def test_a_reset_while_the_collector_was_down_is_a_new_epoch(run: Run) -> None:
    script = f"{A} 0 power 100000\n{A} 9000 reset 0\n"
    assert of(run(script, 8000), 0)["epoch"] != of(run(script, 10_000), 0)["epoch"]


def test_a_reboot_is_a_new_epoch_even_if_the_counter_is_higher(run: Run) -> None:
    script = f"{A} 0 power 100000\n"
    before, after = run(script, 1000), run(script, 2000, boot_id="boot-2")
    assert of(before, 0)["epoch"] != of(after, 0)["epoch"]


def test_a_lost_board_is_a_fault_and_the_others_go_on(run: Run) -> None:
    script = f"{A} 0 power 100000\n{B} 0 power 200000\n{A} 1500 lost 0\n"
    rounds = run(script, 1000, 2000, 3000)
    assert set(rounds[0]["readings"]) == {A, B}
    assert set(rounds[1]["readings"]) == set(rounds[2]["readings"]) == {B}
    assert rounds[1]["faults"][0].startswith("BoardLostError")
    assert rounds[2]["faults"] == [], "a lost board is not asked every second"


def test_a_board_that_returns_is_read_again_by_its_uuid(run: Run) -> None:
    script = f"{A} 0 power 100000\n{A} 1500 lost 0\n{A} 3500 back 0\n"
    rounds = run(script, *range(1000, 40_000, 1000))
    assert A in rounds[-1]["readings"]
    assert of(rounds, -1)["epoch"] == of(rounds, 0)["epoch"], "its counter never fell"


def test_a_board_lost_at_the_start_is_found_later(run: Run) -> None:
    script = f"{A} 0 lost 0\n{B} 0 power 100000\n{A} 3500 back 0\n{A} 3500 power 100000\n"
    rounds = run(script, *range(1000, 40_000, 1000))
    assert A not in rounds[0]["readings"]
    assert A in rounds[-1]["readings"]


def test_a_fields_own_error_is_seen_before_its_value(run: Run) -> None:
    rounds = run(f"{A} 0 power 100000\n{A} 1500 code 83003\n", 1000, 2000)
    assert of(rounds, 1)["energy_mj"] == 200_000, "the newer field answers instead"
    rounds = run(f"{B} 0 power 100000\n{B} 500 code 83003\n{B} 500 code 191003\n", 1000)
    assert rounds[0]["readings"] == {}
    assert "no energy" in rounds[0]["faults"][0]


def test_a_blank_value_is_no_reading(run: Run) -> None:
    rounds = run(f"{A} 0 power 100000\n{A} 500 blank 1\n", 1000)
    assert rounds[0]["readings"] == {}
    assert "blank" in rounds[0]["faults"][0]


def test_a_mig_slice_is_read_once_under_its_parent(run: Run) -> None:
    rounds = run(f"MIG-{A} 0 mig 1\nMIG-{A} 0 power 9\n{A} 0 power 100000\n{A} 0 mig 1\n", 1000)
    assert list(rounds[0]["readings"]) == [A]
    assert of(rounds, 0)["mig"] is True


def test_a_counter_of_a_whole_module_says_so(run: Run) -> None:
    rounds = run(f"{A} 0 power 100000\n{A} 0 module 1\n{B} 0 power 100000\n", 1000)
    assert (of(rounds, 0, A)["scope"], of(rounds, 0, B)["scope"]) == ("module", "gpu")
    assert of(rounds, 0, A)["power_mw"] == 100_000


@pytest.mark.parametrize("code", [1, 9, 18])
def test_a_driver_that_changed_underneath_asks_for_a_new_process(run: Run, code: int) -> None:
    rounds = run(f"{A} 0 power 100000\n{A} 1500 driver {code}\n", 1000, 2000)
    assert rounds[-1]["error"] == "RestartNeededError"
