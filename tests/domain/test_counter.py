from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.metering.engine_counter import CounterSample, counter_deltas
from tests.support.examples import at_depth

T0 = datetime(2026, 4, 15, tzinfo=UTC)


def sample(second: int, value: int, run: str = "a", started: int | None = None) -> CounterSample:
    return CounterSample(
        instance="vllm-0",
        metric="prompt_tokens",
        labels=(),
        run_id=run,
        run_started_at=None if started is None else T0 + timedelta(seconds=started),
        scraped_at=T0 + timedelta(seconds=second),
        value=Decimal(value),
    )


def test_a_restart_loses_nothing_that_was_scraped() -> None:
    samples = [sample(30, 1_000), sample(90, 58_004), sample(105, 9_081, "b", started=95)]
    assert [(d.delta, d.flag) for d in counter_deltas(samples)] == [
        (Decimal(57_004), ""),
        (Decimal(9_081), "new_run"),
    ]


def test_first_sight_is_a_baseline() -> None:
    assert counter_deltas([sample(30, 1_000_000)]) == []


def test_a_series_new_to_a_run_that_began_after_the_last_scrape_counts_whole() -> None:
    other = CounterSample("vllm-0", "x", (), "a", None, T0, Decimal(1))
    late = sample(60, 40, "b", started=50)
    assert [d.delta for d in counter_deltas([other, late])] == [Decimal(40)]


def test_a_fall_without_a_new_run_is_a_suspected_reset() -> None:
    (delta,) = counter_deltas([sample(0, 500), sample(60, 20)])
    assert (delta.delta, delta.flag) == (Decimal(20), "reset_suspected")


def test_two_values_of_one_scrape_lose_nothing() -> None:
    samples = [sample(0, 0), sample(10, 150), sample(10, 100), sample(20, 200)]
    deltas = counter_deltas(samples)
    assert sum(d.delta for d in deltas) == 200
    assert counter_deltas(samples[::-1]) == deltas


def test_order_and_repetition_change_nothing() -> None:
    samples = [sample(30, 1_000), sample(90, 58_004), sample(105, 9_081, "b", started=95)]
    assert counter_deltas(samples[::-1] * 3) == counter_deltas(samples)


def grown(samples: list[CounterSample]) -> tuple[int, set[str]]:
    deltas = counter_deltas(samples)
    return int(sum(d.delta for d in deltas)), {d.flag for d in deltas} - {""}


def test_two_processes_behind_one_address_are_each_compared_with_themselves() -> None:
    samples = [
        sample(n, (5_000 if n % 2 else 900) + n, "b" if n % 2 else "a", started=-1_000)
        for n in range(0, 100)
    ]
    assert grown(samples) == (98 + 98, {"first_seen"})


@pytest.mark.parametrize("fallen", [0, 20, 499])
def test_a_counter_that_falls_and_comes_back_has_counted_nothing_twice(fallen: int) -> None:
    samples = [sample(0, 500), sample(10, fallen), sample(20, 510), sample(30, 520)]
    assert grown(samples) == (20, {"fell"})


def test_jitter_of_a_server_that_adds_up_processes_is_no_reset() -> None:
    values = [1_000, 998, 999, 1_003, 1_001, 1_010]
    assert grown([sample(10 * n, value) for n, value in enumerate(values)]) == (10, {"fell"})


def test_a_run_that_was_there_before_is_no_growth_when_it_is_first_seen() -> None:
    samples = [sample(0, 10, "a", started=-60), sample(10, 9_000, "b", started=-50)]
    assert grown([*samples, sample(20, 9_005, "b", started=-50)]) == (5, {"first_seen"})


def test_a_run_that_does_not_say_when_it_began_is_flagged() -> None:
    assert grown([sample(0, 10, "a"), sample(10, 40, "b")]) == (40, {"new_run"})


@given(st.lists(st.integers(0, 50), min_size=2, max_size=40), st.integers(1, 5), st.randoms())
def test_growth_is_last_minus_first_of_every_run_whoever_answers(
    steps: list[int], processes: int, rng: object
) -> None:
    values = dict.fromkeys(range(processes), 1_000_000)
    samples: list[CounterSample] = []
    first: dict[int, int] = {}
    for second, step in enumerate(steps):
        process = rng.randrange(processes)  # type: ignore[attr-defined]
        values[process] += step
        first.setdefault(process, values[process])
        samples.append(sample(second, values[process], f"run-{process}", -10 * process - 10))
    used = sum(values[process] - value for process, value in first.items())
    assert grown(samples) == (used, {"first_seen"} if len(first) > 1 else set())


def test_two_processes_of_one_run_count_no_more_than_they_grew_by() -> None:
    values = [100, 10, 120, 25, 150, 50]
    assert grown([sample(10 * n, value) for n, value in enumerate(values)]) == (90, {"fell"})
    stuck = [100, 110, 10, 20, 120, 130, 30, 40]
    assert grown([sample(10 * n, value) for n, value in enumerate(stuck)]) == (60, {"fell"})


def test_a_counter_that_grows_on_after_a_fall_is_counted_on() -> None:
    values = [500, 20, 35, 90]
    flagged = (90, {"reset_suspected"})
    assert grown([sample(10 * n, value) for n, value in enumerate(values)]) == flagged


@given(
    st.lists(st.integers(0, 10_000), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2_000)), max_size=40),
)
def test_processes_that_nothing_tells_apart_are_a_lower_bound_or_flagged(
    starts: list[int], steps: list[tuple[int, int]]
) -> None:
    values = sorted(starts, reverse=True)
    # One that is first seen above all others cannot be told from growth.
    seen = [*values]
    for who, step in steps:
        values[who % len(values)] += step
        seen.append(values[who % len(values)])
    # The highest one answers once more: whatever fell before it came back.
    seen.append(max(values))
    used = sum(values) - sum(starts)
    counted, flags = grown([sample(n, value) for n, value in enumerate(seen)])
    assert counted <= used or "fell" in flags


def test_a_second_process_found_below_takes_the_step_to_the_first_back() -> None:
    values = [10, 100, 12, 105]
    deltas = counter_deltas([sample(10 * n, value) for n, value in enumerate(values)])
    assert [(int(d.delta), d.flag) for d in deltas] == [(0, "fell"), (2, "fell"), (5, "")]


def test_a_fall_to_zero_and_back_takes_nothing_back() -> None:
    values = [0, 500, 0, 510]
    assert grown([sample(10 * n, value) for n, value in enumerate(values)]) == (510, {"fell"})


def test_a_counter_first_seen_mid_run_says_that_its_first_tokens_are_left_out() -> None:
    known = [sample(0, 5, "a", started=-60), sample(10, 6, "a", started=-60)]
    late = [replace(one, labels=(("model", "lora"),), value=one.value * 40) for one in known[1:]]
    deltas = counter_deltas([*known, *late])
    assert [(int(d.delta), d.flag) for d in deltas] == [(1, ""), (0, "first_seen")]


@pytest.mark.parametrize("steps", [(0, 1, 0, 1), (0, -1, 1, 0)])
def test_a_start_worked_out_anew_by_a_stepped_clock_is_no_new_run(steps: tuple[int, ...]) -> None:
    samples = [
        sample(10 * n, 100 + 7 * n, f"a+{step}", started=step) for n, step in enumerate(steps)
    ]
    assert grown(samples) == (21, {"start_moved"})


class Engine:
    """A process with a counter of its own, which says when it began or does not."""

    def __init__(self, name: str, marked: bool, second: int) -> None:
        self.name, self.marked, self.born = name, marked, second
        self.value = self.grown = self.life = 0

    def restart(self, second: int) -> None:
        self.value, self.born, self.life = 0, second, self.life + 1

    def scrape(self, second: int) -> CounterSample:
        run = f"{self.name}.{self.life}" if self.marked else "unmarked"
        return sample(second, self.value, run, self.born if self.marked else None)


ACTS = st.tuples(
    st.sampled_from(["grow", "grow", "grow", "scrape", "scrape", "restart", "zero"]),
    st.integers(0, 3),
    st.integers(1, 5_000),
)


@given(
    st.lists(st.booleans(), min_size=1, max_size=4),
    st.lists(st.integers(0, 20_000), min_size=4, max_size=4),
    st.lists(ACTS, max_size=60),
)
@settings(max_examples=at_depth(300))
def test_behind_any_balancer_no_more_is_counted_than_grew_or_it_is_flagged(
    marked: list[bool], begun_with: list[int], acts: list[tuple[str, int, int]]
) -> None:
    engines = [Engine(f"e{n}", mark, -1_000 * n - 60) for n, mark in enumerate(marked)]
    for engine, value in zip(engines, begun_with, strict=False):
        engine.value = value
    samples: list[CounterSample] = []
    for second, (act, who, tokens) in enumerate(acts):
        engine = engines[who % len(engines)]
        if act == "grow":
            engine.value += tokens
            engine.grown += tokens if samples else 0
        elif act == "scrape":
            samples.append(engine.scrape(second))
        elif act == "restart":
            engine.restart(second)
        elif samples:
            samples.append(replace(engine.scrape(second), value=Decimal(0)))
    counted, flags = grown(samples)
    used = sum(engine.grown for engine in engines)
    unmarked = [one.value for one in samples if one.run_id == "unmarked"]
    # One process that grew prints the same as several that take turns upwards.
    told_apart = sum(not mark for mark in marked) < 2 or unmarked != sorted(unmarked)
    assert counted <= used or flags or not told_apart
