"""A GPU that two engines have, unread: estimated by what each ran, by the weights of both."""

from collections.abc import Mapping
from decimal import Decimal

import pytest

from ledger.domain.energy.span import BY_WEIGHTS
from ledger.domain.errors import MissingInputError
from ledger.embedded.postgres import EmbeddedServer
from ledger.flows.cost.allocate import allocate
from ledger.flows.metering.limits import IngestLimits
from ledger.reports.cost.evidence import AskedCost, trace_cost
from ledger.reports.cost.margin import margin_report
from ledger.store.connect import connect, draw_cut_off
from ledger.store.queries import Connection
from tests.flows.test_check_weights import TERMS, enter_fitted
from tests.flows.test_gpus_by_turns import GPU, LAW, OF_SMALL, SMALL, together, two_on_one
from tests.flows.test_true_cost import END, LATER, START, allocated, event
from tests.flows.test_unread import QUARTER, WINDOWS, lines, metered
from tests.support.batching import Run, simulate
from tests.support.books import Books
from tests.support.database import fresh_database
from tests.support.loads import HOUR, SCENARIOS
from tests.support.usage import Gate, keyed

READ = range(QUARTER + 1)
LAW_OF = {"big": TERMS, "small": {name: getattr(OF_SMALL, name, TERMS[name]) for name in TERMS}}


def two() -> dict[str, Run]:
    """A large model in steady use, and a small one whose users come by bursts."""
    big = simulate(SCENARIOS["steady-mix"](), HOUR, LAW)
    return {"big": big, "small": simulate(SCENARIOS["lone-then-burst"](), HOUR, SMALL)}


async def build(
    worker: Connection, runs: Mapping[str, Run], split: str, fitted: tuple[str, ...]
) -> None:
    """A quarter hour that was read, and three that were not."""
    await two_on_one(Books(worker), runs, split, READ)
    for name in fitted:
        await enter_fitted(worker, law=LAW_OF[name], deployment_id=name, weight_set_id=f"of-{name}")


@pytest.mark.parametrize("split", ["share", "busy_time", "weights"])
async def test_it_is_estimated_by_the_work_of_both(worker: Connection, split: str) -> None:
    runs = two()
    await build(worker, runs, split, ("big", "small"))
    report = await allocated(worker, runs)
    assert report.conservation.energy_residual_mj == 0
    assert report.conservation.cost_residual == 0
    edges, _ = together(runs, range(0, HOUR + 1, QUARTER))
    for quarter, (of_meter, estimated, _, findings) in enumerate(await metered(worker)):
        true = edges[quarter + 1] - edges[quarter]
        assert of_meter + estimated == pytest.approx(true, rel=0.03)
        assert (BY_WEIGHTS in findings) == (quarter > 0)
    # Each of both is told by which sets that was, and between what it lies.
    for name in runs:
        asked = AskedCost("factory", f"deployment:{name}", WINDOWS[2])
        traced = await trace_cost(worker, asked, cut_off=await draw_cut_off(worker, "trace"))
        told = {each.weight_set_id: each for each in traced.estimates}
        assert {*told} == {"of-big", "of-small"}
        assert all(
            each.low_mj <= edges[3] - edges[2] <= each.high_mj and each.gpu_uuid == GPU
            for each in told.values()
        )
    assert (await allocate(worker, now=LATER)).rows_written == 0


async def test_unless_the_weights_of_both_are_known_it_is_a_gap(worker: Connection) -> None:
    runs = two()
    await build(worker, runs, "weights", ("big",))
    with pytest.raises(MissingInputError, match=f"energy of GPU {GPU}"):
        await allocated(worker, runs)
    assert [estimated for _, estimated, _, _ in await metered(worker)] == [0]


@pytest.mark.parametrize("split", ["share", "weights"])
async def test_late_work_of_one_moves_what_the_other_has_of_it(
    worker: Connection, server: EmbeddedServer, roomy: str, split: str
) -> None:
    runs = two()
    await build(worker, runs, split, ("big", "small"))
    late = runs["big"].served[-10:]
    held = {**runs, "big": Run(served=runs["big"].served[:-10])}
    await allocated(worker, held)
    before = await lines(worker)
    sent = [event("big", len(held["big"].served) + n, one, "big") for n, one in enumerate(late)]
    await Gate(worker, IngestLimits()).send(keyed(*sent))
    await allocate(worker, now=LATER)
    standing = await lines(worker)
    assert not standing.equals(before)
    with fresh_database(server, roomy) as fresh:
        other = await connect(fresh.worker_url)
        await build(other, runs, split, ("big", "small"))
        await allocated(other, runs)
        assert (await lines(other)).equals(standing)
        await other.close()
    cut_off = await draw_cut_off(worker, "report")
    asked = {"entity_id": "factory", "since": START, "until": END, "cut_off": cut_off}
    kept = (await margin_report(worker, **asked)).conservation  # type: ignore[arg-type]
    assert (kept.energy_residual_mj, kept.cost_residual) == (0, Decimal(0))
