from datetime import UTC, datetime, timedelta
from decimal import Decimal

from ledger.domain.counter import CounterSample, counter_deltas

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
