"""The real NVML binding, loading a scripted library, gives honest readings through every mishap."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

STUB = Path(__file__).parent / "nvml_stub"
ROOT = Path(__file__).parents[2]
A, B = "GPU-aaaa", "GPU-bbbb"
Rounds = list[dict[str, Any]]
Run = Callable[..., Rounds]


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
        command = [sys.executable, str(STUB / "sample_boards.py"), str(tmp_path / "nvml.json")]
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


def told(rounds: Rounds, uuid: str = A) -> list[tuple[str, int, int]]:
    """(reason, from, to) of what was told of a board, in order."""
    gaps = [gap for one in rounds for gap in one.get("gaps", [])]
    return [(reason, since, until) for gpu, reason, since, until in gaps if gpu == uuid]


def test_a_reset_while_the_collector_was_down_is_told(run: Run) -> None:
    script = f"{A} 0 power 100000\n{A} 9000 reset 0\n"
    run(script, 8000)
    assert told(run(script, 10_000)) == [("counter_reset", 8000, 10_000)]


def test_a_reboot_is_told_even_if_the_counter_is_higher(run: Run) -> None:
    script = f"{A} 0 power 100000\n"
    before, after = run(script, 1000), run(script, 2000, boot_id="boot-2")
    assert of(before, 0)["epoch"] != of(after, 0)["epoch"]
    assert told(after) == [("reboot", 1000, 2000), ("collector_down", 1000, 2000)]


def test_a_lost_board_is_told_until_it_recovers_and_the_others_go_on(run: Run) -> None:
    script = f"{A} 0 power 100000\n{B} 0 power 200000\n{A} 1500 lost 0\n{A} 75000 back 0\n"
    rounds = run(script, *range(1000, 100_000, 1000))
    assert all(B in one["readings"] for one in rounds)
    assert A not in rounds[50]["readings"]
    assert rounds[1]["faults"][0].startswith("BoardLostError")
    assert A in rounds[-1]["readings"]
    lost, again, over, back = told(rounds)
    assert lost == ("gpu_lost", 1000, 2000)
    assert again == ("gpu_lost", 1000, 62_000), "told each minute while it lasts"
    assert over[:2] == ("gpu_lost", 1000)
    assert over[2] <= 75_000 + 31_000, "looked for every thirty seconds"
    assert back == ("gpu_recovered", over[2], over[2])
    assert told(rounds, B) == []


@pytest.mark.parametrize("every", [100, 10_000])
def test_what_is_gone_is_looked_for_in_seconds_not_in_rounds(run: Run, every: int) -> None:
    script = f"{A} 0 power 100000\n{A} 5000 lost 0\n{A} 20000 back 0\n"
    rounds = run(script, *range(0, 60_000, every))
    (over,) = [until for reason, _, until in told(rounds) if reason == "gpu_recovered"]
    assert 20_000 <= over <= 20_000 + 30_000 + every


def test_a_board_lost_at_the_start_is_found_later(run: Run) -> None:
    script = f"{A} 0 lost 0\n{B} 0 power 100000\n{A} 3500 back 0\n{A} 3500 power 100000\n"
    rounds = run(script, *range(1000, 40_000, 1000))
    assert A not in rounds[0]["readings"]
    assert A in rounds[-1]["readings"]
    assert [reason for reason, _, _ in told(rounds)] == ["gpu_added"]


def test_a_board_put_into_anothers_place_is_told_of_both(run: Run) -> None:
    script = f"{A} 0 power 100000\n{A} 5000 gone 0\n{B} 5000 born 0\n{B} 5000 power 200000\n"
    rounds = run(script, *range(1000, 70_000, 1000))
    assert B in rounds[-1]["readings"]
    assert [reason for reason, _, _ in told(rounds, B)] == ["gpu_added"]
    assert [reason for reason, _, _ in told(rounds)][-1] == "gpu_replaced"


def test_a_board_without_a_counter_has_its_power_integrated(run: Run) -> None:
    script = f"{A} 0 power 100000\n{A} 0 code 83003\n{A} 0 code 191003\n{A} 4000 power 300000\n"
    rounds = run(script, *range(0, 10_000, 1000))
    assert of(rounds, -1)["energy_mj"] == 3 * 100_000 + 200_000 + 5 * 300_000
    assert of(rounds, -1)["method"] == "power_integral"
    assert told(rounds) == [("not_supported", 0, 0)]


@pytest.mark.parametrize(
    ("code", "reason"), [(4, "no_permission"), (3, "not_supported"), (999, "read_failed")]
)
def test_a_board_that_gives_nothing_says_why(run: Run, code: int, reason: str) -> None:
    codes = "".join(f"{A} 1500 code {f}{code:03}\n" for f in (83, 191, 185, 186))
    rounds = run(f"{A} 0 power 100000\n{codes}", 1000, 2000, 3000)
    assert rounds[-1]["readings"] == {}
    assert told(rounds) == [(reason, 1000, 2000)]


def test_a_library_that_is_missing_is_looked_for_again(run: Run) -> None:
    script = f"{A} 0 power 100000\n{A} 0 nolib 0\n{A} 50000 lib 0\n"
    rounds = run(script, *range(1000, 90_000, 1000))
    assert A in rounds[-1]["readings"]
    reasons = [reason for reason, _, _ in told(rounds, "source:nvml")]
    assert set(reasons) == {"library_missing"}
    assert len(reasons) == 2, "at once, and when it is over"


def test_a_process_that_stood_still_says_so_and_the_counter_ran_on(run: Run) -> None:
    rounds = run(f"{A} 0 power 100000\n", 1000, 2000, 302_000)
    assert told(rounds) == [("suspended", 2000, 302_000)]
    assert of(rounds, 2)["energy_mj"] == 302 * 100_000


def test_a_fields_own_error_is_seen_before_its_value(run: Run) -> None:
    rounds = run(f"{A} 0 power 100000\n{A} 1500 code 83003\n", 1000, 2000)
    assert of(rounds, 1)["energy_mj"] == 200_000, "the newer field answers instead"
    rounds = run(f"{B} 0 power 100000\n{B} 500 code 83003\n{B} 500 code 191003\n", 1000)
    assert of(rounds, 0, B)["method"] == "power_integral"


@pytest.mark.parametrize("field", [83, 185, 186])
def test_a_field_that_answered_until_now_is_replaced_by_the_one_that_does(
    run: Run, field: int
) -> None:
    script = f"{A} 0 power 100000\n{A} 1500 code {field}999\n{A} 2500 code {field}000\n"
    rounds = run(script, 1000, 2000, 3000)
    assert [of(rounds, n)["energy_mj"] for n in range(3)] == [100_000, 200_000, 300_000]
    assert {of(rounds, n)["power_mw"] for n in range(3)} == {100_000}
    assert {of(rounds, n)["epoch"] for n in range(3)} == {"boot-1.load-1.0"}


def test_a_board_that_says_no_power_any_more_is_read_on(run: Run) -> None:
    script = f"{A} 0 power 100000\n{A} 1500 code 185003\n{A} 1500 code 186003\n"
    rounds = run(script, 1000, 2000)
    assert [of(rounds, n)["energy_mj"] for n in range(2)] == [100_000, 200_000]
    assert [of(rounds, n)["power_mw"] for n in range(2)] == [100_000, None]


def test_a_counter_that_fell_is_of_the_driver_loaded_since_however_often_one_reads(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NVML_STUB_RELOADED_MS", "1500")
    script = f"{A} 0 power 100000\n{A} 1500 reset 0\n{B} 0 power 100000\n"
    rounds = run(script, *range(1000, 2300, 100))
    assert [of(rounds, n)["epoch"] for n in (4, 5)] == ["boot-1.load-1.0", "boot-1.load-2.1"]
    assert of(rounds, 12, B)["epoch"] == "boot-1.load-2.0"


def test_a_blank_value_is_no_reading(run: Run) -> None:
    rounds = run(f"{A} 0 power 100000\n{A} 500 blank 1\n", 1000)
    assert rounds[0]["readings"] == {}
    assert "blank" in rounds[0]["faults"][0]
    assert told(rounds) == [("blank_value", 1000, 1000)]


def test_a_mig_slice_is_read_once_under_its_parent(run: Run) -> None:
    rounds = run(f"MIG-{A} 0 mig 1\nMIG-{A} 0 power 9\n{A} 0 power 100000\n{A} 0 mig 1\n", 1000)
    assert list(rounds[0]["readings"]) == [A]
    assert of(rounds, 0)["mig"] is True
    assert told(rounds) == [("mig_parent", 1000, 1000)]


def test_a_counter_of_a_whole_module_says_so(run: Run) -> None:
    rounds = run(f"{A} 0 power 100000\n{A} 0 module 1\n{B} 0 power 100000\n", 1000)
    assert (of(rounds, 0, A)["scope"], of(rounds, 0, B)["scope"]) == ("module", "gpu")
    assert of(rounds, 0, A)["power_mw"] == 100_000
    assert (told(rounds), told(rounds, B)) == ([("module_scope", 1000, 1000)], [])


def test_a_library_that_fits_no_driver_asks_for_a_new_process_and_says_so_first(run: Run) -> None:
    rounds = run(f"{A} 0 power 100000\n{A} 1500 driver 18\n", 1000, 2000, 3000)
    assert told(rounds) == [("driver_missing", 1000, 2000)]
    assert rounds[-1]["error"] == "RestartNeededError"


@pytest.mark.parametrize("code", [1, 9])
def test_a_driver_that_went_is_opened_again(run: Run, code: int) -> None:
    script = f"{A} 0 power 100000\n{A} 1500 driver {code}\n{A} 9000 driver 0\n"
    rounds = run(script, *range(1000, 45_000, 1000))
    assert A in rounds[-1]["readings"]
    reasons = [reason for reason, _, _ in told(rounds)]
    assert reasons == ["driver_missing", "driver_missing"]
