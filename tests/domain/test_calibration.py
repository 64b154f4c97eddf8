"""Weights fitted to simulated engines whose every joule is known: near the truth, or refused."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from ledger.domain.cost.attempt_rows import ATTEMPT
from ledger.domain.cost.calibration import Claimed, Slot, WeightFit, calibrate
from ledger.domain.cost.cells import cells_of
from tests.support.batching import Physics, Request, Run, load, poisson, simulate
from tests.support.loads import HOUR, LAST, SCENARIOS, any_load, varied

GPUS = 4
SLOT_S = 15
TRUE = {
    **{"idle": 110_000, "uncached": 60_000, "cache_read": 400, "output": 359_600},
    **{"context": 20_000, "step": 27_430_000},
}


def attempts(run: Run) -> pl.DataFrame:
    """As the ledger has them of a gateway that tells when each began, answered and ended."""
    rows = []
    for one in run.served:
        ask = one.request
        moments = (one.started, one.first_token, one.ended)
        start, first, end = (round(moment * 1_000_000) for moment in moments)
        rows.append(
            {
                **{"engine_key_id": 1, "usage_key_id": 1, "sign": 1, "start": start},
                **{"read": max(first, start + 1), "wrote": min(first, max(end, first + 1) - 1)},
                **{"end": max(end, first + 1), "uncached": ask.uncached, "cache_write": 0},
                **{"cache_read": ask.cached, "output": ask.output},
                "context": ask.uncached + ask.cached + ask.output // 2,
            }
        )
    return pl.DataFrame(rows, schema=ATTEMPT).with_columns(engine=pl.lit(0))


def slots(run: Run, *, read_s: int = 1, counted: bool = True) -> list[Slot]:
    """An hour of slots, from a meter read so often and an engine scraped at every slot's end."""
    edges, reads = range(0, HOUR + 1, SLOT_S), range(0, HOUR + 1, read_s)
    energy = np.interp(list(edges), list(reads), run.readings(reads)).astype(int)
    steps = run.counted(edges)
    cells = {
        row[0]: row[1:] for row in cells_of(attempts(run), [s * 1_000_000 for s in edges]).rows()
    }
    found = []
    for at in range(len(edges) - 1):
        uncached, cached, output, context, covered_us = cells.get(at, (0, 0, 0, 0, 0))
        stepped = steps[at + 1] - steps[at]
        found.append(
            Slot(
                int(energy[at + 1] - energy[at]),
                (SLOT_S * 1_000_000 - covered_us) * GPUS,
                not covered_us and not stepped,
                *(uncached, cached, output, context),
                stepped if counted else None,
            )
        )
    return found


def off(found: WeightFit, physics: dict[str, int] = TRUE) -> dict[str, float]:
    """How far each term is from true."""
    return {name: abs(term.value / physics[name] - 1) for name, term in found.terms.items()}


def reasons(found: WeightFit) -> set[str]:
    return {refusal.reason for refusal in found.refusals}


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_varied_load_tells_every_weight_within_5_percent(seed: int) -> None:
    found = calibrate(slots(simulate(varied(seed), HOUR)), {})
    assert reasons(found) == set()
    assert found.terms.keys() == TRUE.keys()
    assert max(off(found).values()) <= 0.05
    assert all(term.low <= TRUE[name] <= term.high for name, term in found.terms.items())
    assert found.holdout_error >= found.fit_error > 0


@pytest.mark.parametrize("seed", range(1, 9))
def test_any_load_is_refused_or_told_within_10_percent(seed: int) -> None:
    found = calibrate(slots(simulate(any_load(seed), HOUR)), {})
    assert found.refusals or max(off(found).values()) <= 0.10


@pytest.mark.parametrize("name", SCENARIOS)
def test_loads_that_split_goes_wrong_over_are_refused(name: str) -> None:
    found = calibrate(slots(simulate(SCENARIOS[name](), HOUR)), {})
    assert found.refusals


def constant() -> Sequence[Request]:
    """The same request again and again, with pauses: prompts, answers and steps go together."""
    moments = [at for at in poisson(1, 0, LAST, 0.7) if at % 300 < 240]
    return load("same", moments, (500, 2_000, 300), spread=0)


def test_a_constant_mix_is_refused() -> None:
    found = calibrate(slots(simulate(constant(), HOUR)), {})
    assert {"constant_mix", "wide_interval"} <= reasons(found)
    # What makes it worth refusing: the fit itself looks perfect.
    assert found.fit_error < 0.01


def test_without_step_counts_it_is_refused() -> None:
    found = calibrate(slots(simulate(varied(2), HOUR), counted=False), {})
    assert "no_step_counts" in reasons(found)


def test_without_rest_it_is_refused() -> None:
    busy = [slot for slot in slots(simulate(varied(2), HOUR)) if not slot.is_idle]
    assert "no_idle_slots" in reasons(calibrate(busy, {}))


def test_an_hour_at_rest_is_refused() -> None:
    assert "nothing_ran" in reasons(calibrate(slots(simulate([], HOUR)), {}))


def test_too_few_slots_are_refused_before_anything_is_fitted() -> None:
    found = calibrate(slots(simulate(varied(2), HOUR))[:90], {})
    assert "too_few_slots" in reasons(found)
    assert found.terms == {}


def test_work_that_no_taken_events_is_refused() -> None:
    shown = slots(simulate(varied(2), HOUR))
    claims = {"input": Claimed(1_000, 985), "output": Claimed(1_000, 900)}
    told = calibrate(shown, claims).refusals
    assert [(each.reason, each.seen) for each in told] == [
        ("unclaimed_tokens", "1000 output tokens counted, 900 in events")
    ]
    assert "unclaimed_tokens" in reasons(calibrate(shown, {"input": Claimed(None, 5)}))


def test_half_of_the_requests_unseen_are_refused_by_intervals_alone() -> None:
    run = simulate(varied(2), HOUR)
    run.served = run.served[::2]
    assert "wide_interval" in reasons(calibrate(slots(run), {}))


def test_a_meter_read_every_ten_seconds_is_refused_or_near() -> None:
    for seed in (2, 3):
        found = calibrate(slots(simulate(varied(seed), HOUR), read_s=10), {})
        assert found.refusals or max(off(found).values()) <= 0.10


def test_terms_that_are_known_are_held_and_the_rest_fitted() -> None:
    shown = slots(simulate(varied(2), HOUR))
    found = calibrate(shown, {}, {"cache_read": 400, "context": 20_000})
    assert found.terms.keys() == TRUE.keys() - {"cache_read", "context"}
    assert max(off(found).values()) <= 0.02


def test_other_engines_are_told_as_well() -> None:
    physics = Physics(step_j=11.47, output_j=0.1889, uncached_j=0.03, idle_w=250, cached_j=0.0003)
    true = {"idle": 62_500, "uncached": 30_000, "cache_read": 300, "output": 188_900}
    true |= {"context": 20_000, "step": 11_470_000}
    found = calibrate(slots(simulate(varied(3), HOUR, physics)), {})
    assert found.refusals or max(off(found, true).values()) <= 0.10
    assert off(found, true)["step"] <= 0.02
