"""An exposition becomes canonical counters and run marks; what is not said stays unsaid."""

import json
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

import collectors.engines
from collectors.engines import ENGINES
from collectors.engines.counters import EngineReading
from collectors.exposition import parse_exposition

GOLDEN = Path(__file__).parents[1] / "golden" / "engines"
# How the counters of every engine are named here.
COUNTERS = {
    *("prompt_tokens", "prompt_tokens_cached", "prompt_tokens_computed", "generation_tokens"),
    *("draft_tokens", "accepted_tokens", "requests_finished", "preemptions", "migrations"),
    *("prompt_tokens_finished", "generation_tokens_finished"),
    *("steps", "busy_seconds", "request_seconds", "requests_running", "kv_used"),
}


def read(engine: str, text: str) -> EngineReading:
    return ENGINES[engine].read(parse_exposition(text))


def totals(reading: EngineReading) -> dict[str, Decimal]:
    summed: Counter[str] = Counter()
    for counter in reading.counters:
        summed[counter.name] += Decimal(counter.value)  # type: ignore[assignment]
    return {name: Decimal(value) for name, value in summed.items()}


@pytest.mark.parametrize("name", ENGINES)
def test_the_golden_sample_gives_the_golden_counters(name: str) -> None:
    expected = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    reading = read(name, (GOLDEN / f"{name}.prom").read_text(encoding="utf-8"))
    found = [[c.name, dict(c.labels), c.value, c.precision_loss] for c in reading.counters]
    assert found == expected["counters"]
    assert reading.marks.run_id("pod") == expected["run_id"]
    assert (reading.version, list(reading.unknown)) == (expected["version"], expected["unknown"])
    assert {counter.name for counter in reading.counters} <= COUNTERS


@pytest.mark.parametrize("name", ENGINES)
def test_a_server_that_says_nothing_has_no_counters(name: str) -> None:
    assert read(name, "up 1\n").counters == ()


@pytest.mark.parametrize("name", ["llamacpp", "sglang", "tgi", "triton", "vllm"])
def test_the_published_sample_of_each_server_is_read(shared_data: Path, name: str) -> None:
    text = (shared_data / "metrics" / f"{name}.prom").read_text(encoding="utf-8")
    reading = read(name, text)
    assert "generation_tokens" in totals(reading)
    assert (reading.unknown, reading.left_out) == ((), ())


def test_vllm_counters_differ_by_the_published_tokens(shared_data: Path) -> None:
    first, second, restart = (
        read("vllm", (shared_data / "metrics" / name).read_text(encoding="utf-8"))
        for name in ("vllm.prom", "vllm-t1.prom", "vllm-t2-restart.prom")
    )
    wanted = {"prompt_tokens": 57_004, "prompt_tokens_cached": 18_816, "generation_tokens": 8_883}
    for name, tokens in wanted.items():
        assert totals(second)[name] - totals(first)[name] == tokens
    assert first.marks == second.marks
    after = totals(restart)
    assert after["prompt_tokens"] == 9_081
    assert after["prompt_tokens_cached"] == 4_176
    assert after["generation_tokens"] == 1_742


def test_a_vllm_restart_is_a_new_run_that_began_at_the_latest_start_known(
    shared_data: Path,
) -> None:
    before, after = (
        read("vllm", (shared_data / "metrics" / name).read_text(encoding="utf-8")).marks
        for name in ("vllm-t1.prom", "vllm-t2-restart.prom")
    )
    assert before.run_id("pod") != after.run_id("pod")
    assert after.started_at() == datetime.fromtimestamp(1_786_000_095, UTC)


def test_data_parallel_engines_are_kept_apart(shared_data: Path) -> None:
    text = (shared_data / "metrics" / "vllm-dp2.prom").read_text(encoding="utf-8")
    prompts = [c for c in read("vllm", text).counters if c.name == "prompt_tokens"]
    assert {c.labels["engine"]: c.value for c in prompts} == {"0": "42166.0", "1": "43679.0"}


@pytest.mark.parametrize(
    "name",
    [
        "vllm:prompt_tokens_total",
        "vllm:prompt_tokens_total_total",
        "vllm:prompt_tokens",
        "ray_vllm_prompt_tokens_total",
        "vllm_prompt_tokens_total",
    ],
)
def test_the_spellings_of_a_counter_are_one_counter(name: str) -> None:
    (counter,) = read("vllm", f'{name}{{engine="0",model_name="m"}} 5\n').counters
    assert (counter.name, counter.value, counter.raw_name) == ("prompt_tokens", "5", name)
    assert dict(counter.labels) == {"engine": "0", "model": "m"}


def test_a_counter_printed_under_two_spellings_counts_once() -> None:
    text = 'vllm:prompt_tokens_total{engine="0"} 5\nvllm:prompt_tokens_total_total{engine="0"} 5\n'
    assert len(read("vllm", text).counters) == 1


def test_what_is_absent_stays_absent_and_what_is_no_count_is_left_out() -> None:
    text = (
        "vllm:prompt_tokens_total 5\nvllm:generation_tokens_total NaN\nvllm:num_preemptions -1\n"
        "vllm:iteration_tokens_total_sum 7\nvllm:prefix_cache_hits_total 3\n"
    )
    reading = read("vllm", text)
    assert [counter.name for counter in reading.counters] == ["prompt_tokens"]
    assert reading.left_out == (
        "vllm:generation_tokens_total{}: NaN is no count",
        "vllm:num_preemptions{}: -1 is no count",
    )
    assert reading.marks.run_id("pod") == "pod@-+-"
    assert reading.marks.started_at() is None


@pytest.mark.parametrize("value", ["nan", "+Inf", "-inf", "-5", "1e400", "9223372036854775794"])
def test_a_value_that_no_counter_has_costs_its_series_and_is_named(value: str) -> None:
    reading = read("vllm", f"{SERIES}}} {value}\nvllm:generation_tokens_total 7\n")
    assert [counter.value for counter in reading.counters] == ["7"]
    (said,) = reading.left_out
    assert said.endswith(f": {value} is no count")


def test_a_series_made_later_does_not_start_a_new_run() -> None:
    early = 'vllm:prompt_tokens_created{engine="0"} 100.5\n'
    late = early + 'vllm:prompt_tokens_created{engine="1"} 2.00e+02\n'
    assert read("vllm", early).marks == read("vllm", late).marks


def test_a_double_that_may_have_been_rounded_says_so() -> None:
    exact, rounded = 2**53, 2**53 + 2
    (kept,) = read("vllm", f"vllm:prompt_tokens_total {exact}\n").counters
    (lossy,) = read("vllm", f"vllm:prompt_tokens_total {rounded}\n").counters
    assert (kept.precision_loss, lossy.precision_loss) == (False, True)


def test_every_file_of_the_folder_is_in_the_table() -> None:
    folder = Path(collectors.engines.__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - {"__init__", "counters", "reader"}
    assert files == set(ENGINES)


SERIES = 'vllm:prompt_tokens_total{model_name="m",engine="0"'


def test_a_series_given_twice_with_two_values_is_named_and_left_out() -> None:
    other = 'vllm:prompt_tokens_total{model_name="m",engine="1"} 7\n'
    reading = read("vllm", f"{SERIES}}} 5\n{SERIES}}} 6\n{SERIES}}} 5\n{other}")
    assert [counter.value for counter in reading.counters] == ["7"]
    (said,) = {one.rpartition(": ")[2] for one in reading.left_out}
    assert said == "given twice, as 5 and 6"


def test_a_series_printed_twice_alike_counts_once() -> None:
    reading = read("vllm", f"{SERIES}}} 5\n{SERIES}}} 5.0\n")
    assert ([counter.value for counter in reading.counters], reading.left_out) == (["5"], ())


@pytest.mark.parametrize(
    "labels",
    [
        f'x="{"long" * 100}"',
        f'{"k" * 65}="1"',
        ",".join(f'l{number}="1"' for number in range(20)),
        'x="nul\0"',
    ],
)
def test_labels_that_a_ledger_refuses_cost_their_series_only(labels: str) -> None:
    text = f"vllm:generation_tokens_total{{{labels}}} 1\n{SERIES}}} 5\n"
    reading = read("vllm", text)
    assert [counter.value for counter in reading.counters] == ["5"]
    assert len(reading.left_out) == 1


def test_an_older_frontend_of_dynamo_counts_output_when_it_ends() -> None:
    text = 'dynamo_frontend_output_sequence_tokens_sum{model="m"} 7\n'
    assert totals(read("dynamo", text)) == {"generation_tokens": Decimal(7)}


@pytest.mark.parametrize(
    ("family", "version"),
    [
        ("gpu_cache_usage_perc", "of 2025-01"),
        ("kv_cache_usage_perc", "of 2025-06"),
        ("num_requests_waiting_by_reason", "of 2026-04 or later"),
        ("prompt_tokens_cached_total", None),
    ],
)
def test_the_names_of_a_server_tell_its_version(family: str, version: str | None) -> None:
    assert read("vllm", f"vllm:{family} 1\n").version == version


def test_a_family_that_counts_tokens_under_a_new_name_is_named() -> None:
    text = "vllm:prompt_tokens_total 5\nvllm:vision_tokens_total 3\nother_tokens_total 9\n"
    reading = read("vllm", text)
    assert reading.unknown == ("vllm:vision_tokens_total",)
    assert [counter.name for counter in reading.counters] == ["prompt_tokens"]


@pytest.mark.parametrize("value", ["0e999", "1e-99", f"0.{'1' * 90}", f"{'9' * 70}"])
def test_a_value_that_a_ledger_refuses_costs_its_series(value: str) -> None:
    reading = read("vllm", f"{SERIES}}} {value}\nvllm:generation_tokens_total 7\n")
    assert [counter.value for counter in reading.counters] == ["7"]


def test_a_page_of_several_processes_does_not_begin_again_with_each_of_them() -> None:
    one = 'process_start_time_seconds{pid="1"} 1786000000\n'
    other = 'process_start_time_seconds{pid="2"} 1786000100\n'
    assert read("vllm", one + one).marks.process_started == "1786000000"
    assert read("vllm", one + other).marks.process_started is None
    assert read("vllm", one + other.replace("1786000100", "NaN")).marks == read("vllm", one).marks
