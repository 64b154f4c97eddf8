"""Two engines on one GPU, whose every joule is known, against what the ledger books by customer."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from ledger.reports.cost.margin import MarginReport
from ledger.store.queries import Connection
from tests.flows.test_true_cost import END, IDLE_MW, START, WEIGHTS, allocated
from tests.support.batching import Physics, Run, simulate
from tests.support.books import Books
from tests.support.loads import HOUR, SCENARIOS

LAW = Physics()
# A smaller model: all of its work takes a third.
SMALL = replace(LAW, step_j=9.0, output_j=0.12, uncached_j=0.02, cached_j=0.0002, context_j=1e-5)
OF_SMALL = replace(
    WEIGHTS,
    uncached=20_000,
    cache_read=200,
    cache_write=20_000,
    output=120_000,
    context=10_000,
    step=9_000_000,
)
GPU = "GPU-1"
# No reading of an hour is nearer to another than this.
STEP_S = 0.01


def together(runs: Mapping[str, Run], seconds: range) -> tuple[list[int], float]:
    """The meter of a GPU on which these ran in mJ, and what it drew while none of them did, in J:
    at rest it draws what one engine does, and each step takes what it takes alone."""
    marks = np.arange(0, HOUR + STEP_S / 2, STEP_S)
    drawn, busy = np.zeros(marks.size), np.zeros(marks.size - 1, bool)
    for run in runs.values():
        watts = np.diff(run.joules) / np.maximum(np.diff(run.times), 1e-12)
        steps = np.diff(run.steps) > 0
        rest = np.concatenate([[0.0], np.cumsum(np.where(steps, 0.0, np.diff(run.joules)))])
        drawn += np.interp(marks, run.times, np.array(run.joules) - rest)
        at = np.searchsorted(run.times, marks[:-1] + STEP_S / 2) - 1
        busy |= steps[np.minimum(at, steps.size - 1)] & (watts[np.minimum(at, steps.size - 1)] > 0)
    at_rest = np.concatenate([[0.0], np.cumsum(np.where(busy, 0.0, LAW.idle_w * STEP_S))])
    found = np.interp(list(seconds), marks, drawn + at_rest) * 1_000
    return [int(one) for one in found], float(at_rest[-1])


async def two_on_one(
    books: Books, runs: Mapping[str, Run], split: str, seconds: range = range(HOUR + 1)
) -> float:
    """A GPU that both have a half of, read at some seconds; what it truly drew at rest."""
    await books.entity()
    await books.facility()
    await books.pue(START, END, pue="1")
    await books.tariff([(START, END, "100")])
    await books.lease(START, END, rate="2", all_in=False)
    for name, run in runs.items():
        for customer in run.of_customers():
            await books.customer(f"{name}.{customer}")
        await books.deployment(
            *(START, END),
            deployment_id=name,
            model=name,
            gpus=[GPU],
            instances=[name],
            weights=OF_SMALL if name == "small" else WEIGHTS,
            idle_mw_per_gpu=IDLE_MW,
            gpu_parts=3_500_000,
            gpu_split=split,
        )
    readings, at_rest = together(runs, seconds)
    moments = (START + timedelta(seconds=second) for second in seconds)
    await books.readings(GPU, list(zip(moments, readings, strict=True)))
    return at_rest


def worst(report: MarginReport, runs: Mapping[str, Run], at_rest: float) -> dict[str, float]:
    """How far each customer, and idle, is from true, in hundredths."""
    true = {
        f"{name}.{customer}": joules
        for name, run in runs.items()
        for customer, joules in run.of_customers().items()
    }
    booked = {row.group[1]: row.device_mj / 1_000 for row in report.rows}
    off = {who: 100 * (booked[who] / joules - 1) for who, joules in true.items()}
    idle = sum(one.metered_mj for one in report.own_lines if one.line == "idle") / 1_000
    return off | {"idle": 100 * (idle / at_rest - 1)}


def pair(big: str, small: str) -> dict[str, Run]:
    return {
        "big": simulate(SCENARIOS[big](), HOUR),
        "small": simulate(SCENARIOS[small](), HOUR, SMALL),
    }


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("big", "small"),
    [
        ("steady-mix", "short-at-low-load"),
        ("lone-then-burst", "steady-mix"),
        ("short-at-low-load", "beside-a-peak"),
    ],
)
async def test_weights_tell_two_engines_on_one_gpu_apart(
    worker: Connection, big: str, small: str
) -> None:
    runs = pair(big, small)
    at_rest = await two_on_one(Books(worker), runs, "weights")
    report = await allocated(worker, runs)
    off = worst(report, runs, at_rest)
    assert max(map(abs, off.values())) <= 4
    assert abs(off["idle"]) <= 0.1
    assert report.conservation.energy_residual_mj == 0
    assert report.conservation.cost_residual == 0
