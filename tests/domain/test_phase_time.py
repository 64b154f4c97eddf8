"""Weights by the time of phases against simulated engines: refused, or near what phases took."""

from collections.abc import Sequence

import numpy as np
import pytest

from ledger.domain.cost.calibration import TERMS, WeightFit
from ledger.domain.cost.cells import cells_of
from ledger.domain.cost.phase_time import PhaseSlot, weigh_phases
from ledger.domain.cost.slots import steps_between
from ledger.domain.cost.weights import Weights
from tests.domain.test_calibration import attempts, reasons
from tests.domain.test_slots import allocate, errors, facts_of, worst
from tests.support.batching import Physics, Run, simulate
from tests.support.loads import HOUR, SCENARIOS, any_load, varied

GPUS = 4
SLOT_S = 15
QUARTER_SLOTS = 900 // SLOT_S
APART = Physics(mixed=False)


def slots(run: Run) -> list[PhaseSlot]:
    """An hour of slots, from a meter read each second and timers scraped at every slot's end."""
    edges, reads = range(0, HOUR + 1, SLOT_S), range(0, HOUR + 1)
    energy = np.interp(list(edges), list(reads), run.readings(reads)).astype(int)
    grown = {phase: np.diff(run.timed(phase, edges)) for phase in ("extend", "decode", "mixed")}
    ran, marks = attempts(run), [s * 1_000_000 for s in edges]
    cells = {row[0]: row[1:5] for row in cells_of(ran, marks).rows()}
    quarters = range(0, len(edges) - 1, QUARTER_SLOTS)
    steps = [
        count
        for first in quarters
        for count in steps_between(
            ran, marks[first], marks[first : first + QUARTER_SLOTS + 1], chunk=APART.chunk
        )
    ]
    return [
        PhaseSlot(
            int(energy[at + 1] - energy[at]),
            int(grown["extend"][at] * 1_000_000) * GPUS,
            int(grown["decode"][at] * 1_000_000) * GPUS,
            int(grown["mixed"][at] * 1_000_000) * GPUS,
            SLOT_S * 1_000_000 * GPUS,
            *(*cells.get(at, (0, 0, 0, 0)), *steps[at]),
        )
        for at in range(len(edges) - 1)
    ]


def joules_of(run: Run, phase: str) -> float:
    """What the engine truly took in a phase."""
    grown = np.diff(run.phases[phase]) > 0
    return float(np.diff(run.joules)[grown].sum())


def told_joules(run: Run, found: WeightFit) -> tuple[float, float]:
    """What weights say of prompts and of answers."""
    shown = slots(run)
    takes = {name: found.terms[name].value if name in found.terms else 0 for name in TERMS}
    sums = {name: sum(getattr(each, name) for each in shown) for name in PhaseSlot.__slots__}
    asked = sum(takes[name] * sums[name] for name in ("uncached", "cache_read"))
    asked += takes["step"] * sums["reads"]
    wrote = sum(takes[name] * sums[name + "s" * (name == "step")] for name in ("output", "step"))
    return asked / 10**6, (wrote + takes["context"] * sums["context"] / 1_000) / 10**6


def told(run: Run) -> WeightFit:
    return weigh_phases(slots(run), {})


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_a_varied_load_tells_what_each_phase_took(seed: int) -> None:
    run = simulate(varied(seed), HOUR, APART)
    found = told(run)
    assert reasons(found) == set()
    assert found.rates["idle"].value == pytest.approx(110_000, rel=0.01)
    true = joules_of(run, "extend"), joules_of(run, "decode")
    assert told_joules(run, found) == pytest.approx(true, rel=0.03)


@pytest.mark.parametrize("seed", range(1, 13))
def test_any_load_is_refused_or_tells_what_each_phase_took(seed: int) -> None:
    run = simulate(any_load(seed), HOUR, APART)
    found = told(run)
    if not found.refusals:
        true = joules_of(run, "extend"), joules_of(run, "decode")
        assert told_joules(run, found) == pytest.approx(true, rel=0.10)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_ordinary_loads_charge_each_customer_near_what_it_took(scenario: str) -> None:
    """Without step counts and without an hour of varied load."""
    run = simulate(SCENARIOS[scenario](), HOUR, APART)
    takes = {name: each.value for name, each in told(run).terms.items()}
    idle_mw = takes.pop("idle") * GPUS
    weights = Weights(2, **takes, cache_write=takes["uncached"])
    names = sorted(run.of_customers())
    off = errors(run, allocate(run, facts_of(run.served, names), weights, idle_mw=idle_mw), names)
    assert worst(off) < 3
    assert abs(off["idle"]) < 1


def test_a_token_takes_the_time_of_its_phase_times_what_that_draws() -> None:
    run = simulate(varied(2), HOUR, APART)
    found = told(run)
    asked = sum(one.request.uncached for one in run.served)
    microjoules = found.rates["prefill"].value * run.phases["extend"][-1] * GPUS * 1_000
    of_steps = found.terms["step"].value * sum(slot.reads for slot in slots(run))
    expected = (microjoules - of_steps) / asked
    assert found.terms["uncached"].value == pytest.approx(expected, rel=0.01)
    assert found.terms["uncached"].low < found.terms["uncached"].value


def test_batches_of_both_phases_are_refused() -> None:
    assert "mixed_phases" in reasons(told(simulate(varied(2), HOUR)))


def test_an_engine_that_counts_no_time_of_phases_is_refused() -> None:
    assert reasons(weigh_phases(None, {})) == {"no_phase_times"}


def without(found: Sequence[PhaseSlot], **said: int) -> list[PhaseSlot]:
    names = PhaseSlot.__slots__
    return [PhaseSlot(**{n: getattr(each, n) for n in names} | said) for each in found]


def test_a_phase_whose_time_nobody_counts_is_refused() -> None:
    lost = without(slots(simulate(varied(2), HOUR, APART)), prefill_us=0)
    assert "no_phase_times" in reasons(weigh_phases(lost, {}))


def test_more_time_than_there_was_is_refused() -> None:
    """Such as seconds of requests, which overlap."""
    over = without(slots(simulate(varied(2), HOUR, APART)), decode_us=SLOT_S * 8_000_000)
    assert "more_than_time" in reasons(weigh_phases(over, {}))


def test_an_hour_at_rest_and_too_few_slots_are_refused() -> None:
    assert "nothing_ran" in reasons(told(simulate([], HOUR, APART)))
    few = slots(simulate(varied(2), HOUR, APART))[:90]
    assert reasons(weigh_phases(few, {})) == {"too_few_slots"}
