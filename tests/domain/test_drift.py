"""Fitted weights against slots of simulated engines: quiet while the law is theirs, and told once
it is not."""

from dataclasses import replace

import pytest

from ledger.domain.cost.drift import FittedSet, WeightCheck, compare_with_weights
from ledger.domain.cost.weights import Weights
from tests.domain.test_calibration import TRUE, slots
from tests.support.batching import Physics, simulate
from tests.support.loads import HOUR, SCENARIOS, varied

WEIGHTS = Weights(2, 60_000, 400, 60_000, 359_600, 20_000, 27_430_000)


def fitted(*, per_cent: int = 2) -> FittedSet:
    """The law itself, that may be so much off."""
    bounds = {
        side: {name: value + sign * value * per_cent // 100 for name, value in TRUE.items()}
        for side, sign in (("low", -1), ("high", 1))
    }
    return FittedSet.of(("chat", "law"), WEIGHTS, TRUE["idle"], bounds)


def is_off(found: WeightCheck | None) -> bool:
    assert found is not None
    return not found.low_mj <= found.measured_mj <= found.high_mj


@pytest.mark.parametrize("name", SCENARIOS)
def test_weights_of_the_law_say_what_every_load_takes(name: str) -> None:
    found = compare_with_weights(slots(simulate(SCENARIOS[name](), HOUR)), fitted())
    assert not is_off(found)


def test_an_engine_that_takes_more_than_its_weights_leave_open_is_told() -> None:
    more = Physics(step_j=27.43 * 1.1, output_j=0.3596 * 1.1)
    found = compare_with_weights(slots(simulate(varied(2), HOUR, more)), fitted())
    assert is_off(found)
    assert found is not None
    assert found.measured_mj > found.high_mj > found.expected_mj > found.low_mj


def test_terms_without_bounds_were_held_and_leave_nothing_open() -> None:
    known = FittedSet.of(("chat", "law"), WEIGHTS, 5, {"low": {"step": 7}, "high": {"idle": None}})
    assert (known.low["step"], known.high["step"]) == (7, 27_430_000)
    assert (known.low["idle"], known.high["idle"]) == (5, 5)


def test_of_little_time_nothing_is_said() -> None:
    run = simulate(varied(2), HOUR)
    assert compare_with_weights(slots(run)[:19], fitted()) is None


def test_steps_that_nobody_counts_are_those_of_who_wrote() -> None:
    run = simulate(varied(2), HOUR)
    bare = [replace(each, shared_steps=each.steps or 0, steps=None) for each in slots(run)]
    assert compare_with_weights(bare, fitted()) == compare_with_weights(slots(run), fitted())
