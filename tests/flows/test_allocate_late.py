"""Late work changes what its own deployments cost, to what all of the window would come to anew."""

from collections.abc import Sequence

import polars as pl
import pytest

from ledger.domain.cost.line_runs import LINE, LINE_KEY
from ledger.domain.entity import LegalEntity
from ledger.flows.cost.allocate import allocate
from ledger.flows.cost.cost_windows import cost_windows, find_meters
from ledger.flows.cost.find_due import find_due
from ledger.flows.stage import StageContext
from ledger.store import stage_runs
from ledger.store.connect import draw_cut_off
from ledger.store.cost import cost
from ledger.store.cost.allocations import find_allocations
from ledger.store.queries import Connection
from tests.support.books import Books, Buyer, Tokens
from tests.support.one_gpu import LATER, START, at, steady

WINDOWS = [at(900 * n) for n in range(4)]
ACME, OTHER = Buyer(), Buyer(customer_id="other", customer_ref="other")


async def several(books: Books) -> None:
    """One deployment by instance, two that share a model by name, and a GPU that nobody deploys."""
    await books.entity()
    for customer in ("acme", "other"):
        await books.customer(customer)
    await books.facility()
    await books.pue(START)
    await books.tariff([(START, at(3600), "90")])
    await books.lease(START, gpu_count=4, all_in=False)
    await books.deployment(START, deployment_id="named", gpus=["GPU-0"], instances=["engine-0"])
    for n in (1, 2):
        await books.deployment(START, deployment_id=f"shared-{n}", gpus=[f"GPU-{n}"])
    for gpu in range(4):
        await books.readings(f"GPU-{gpu}", steady(range(0, 3601, 10), base_mj=gpu * 10**9))
    for window in WINDOWS:
        for instance in ("engine-0", ""):
            await books.usage(window, Tokens(uncached=100, output=50), instance=instance)


async def _factory(worker: Connection) -> LegalEntity:
    (entity,) = await cost.list_cost_entities(worker, entity_id="factory")
    return entity


async def _stored(worker: Connection) -> pl.DataFrame:
    found = await find_allocations(worker, entity_id="factory", windows=WINDOWS, scopes=None)
    return _told(found.lines.frame())


async def _anew(worker: Connection) -> pl.DataFrame:
    cut_off = await draw_cut_off(worker, "test")
    known = await find_meters(worker, cut_off.batch_seq)
    async with worker.transaction(isolation="repeatable_read"):
        costs, _ = await cost_windows(worker, await _factory(worker), WINDOWS, known)
    return _told(costs.lines().frame())


def _told(lines: pl.DataFrame) -> pl.DataFrame:
    return lines.select(LINE.keys()).sort(LINE_KEY)


async def _revised(worker: Connection) -> set[tuple[str, int]]:
    rows = await worker.fetch("SELECT scope, window_start FROM cost_allocation WHERE revision > 1")
    return {(row["scope"], WINDOWS.index(row["window_start"])) for row in rows}


@pytest.mark.parametrize(
    ("instance", "tokens", "buyer", "scopes"),
    [
        ("engine-0", Tokens(output=900), OTHER, ["named"]),
        ("engine-0", Tokens(uncached=-100, output=-50), ACME, ["named"]),
        ("", Tokens(uncached=7), OTHER, ["shared-1", "shared-2"]),
        ("of nobody's", Tokens(cache_read=7), OTHER, ["shared-1", "shared-2"]),
    ],
    ids=["named", "taken back", "shared", "not named"],
)
async def test_late_work_revises_who_served_it(
    worker: Connection, instance: str, tokens: Tokens, buyer: Buyer, scopes: Sequence[str]
) -> None:
    books = Books(worker)
    await several(books)
    await allocate(worker, now=LATER)
    await books.usage(WINDOWS[2], tokens, instance=instance, buyer=buyer)
    await allocate(worker, now=LATER)
    assert (await _stored(worker)).equals(await _anew(worker))
    assert await _revised(worker) == {(f"deployment:{name}", 2) for name in scopes}
    assert (await allocate(worker, now=LATER)).rows_written == 0


async def test_late_work_revises_who_uses_its_gpu_by_turns(worker: Connection) -> None:
    books = Books(worker)
    await several(books)
    for name in ("turn-1", "turn-2"):
        await books.deployment(
            *(START, at(3600)),
            deployment_id=name,
            model=name,
            gpus=["GPU-3"],
            instances=[name],
            gpu_parts=3_500_000,
            gpu_split="busy_time",
        )
        await books.usage(WINDOWS[2], Tokens(output=50), instance=name, busy=range(450))
    await allocate(worker, now=LATER)
    await books.usage(WINDOWS[2], Tokens(output=9), instance="turn-1", busy=range(450, 700))
    await allocate(worker, now=LATER)
    assert (await _stored(worker)).equals(await _anew(worker))
    assert await _revised(worker) == {("deployment:turn-1", 2), ("deployment:turn-2", 2)}
    assert (await allocate(worker, now=LATER)).rows_written == 0


async def test_late_work_of_a_model_that_nobody_serves_costs_nothing(worker: Connection) -> None:
    books = Books(worker)
    await several(books)
    await allocate(worker, now=LATER)
    await books.usage(WINDOWS[1], Tokens(output=1), buyer=Buyer(model="unknown"))
    assert (await allocate(worker, now=LATER)).rows_written == 0


async def test_late_work_beside_a_late_reading_is_allocated_with_all(worker: Connection) -> None:
    books = Books(worker)
    await several(books)
    await allocate(worker, now=LATER)
    await books.usage(WINDOWS[0], Tokens(output=1), instance="engine-0", buyer=OTHER)
    await books.usage(WINDOWS[3], Tokens(output=1), instance="engine-0", buyer=OTHER)
    await books.readings("GPU-1", [(at(3605), 10**9 + 3605 * 500_000)])
    await allocate(worker, now=LATER)
    assert (await _stored(worker)).equals(await _anew(worker))


async def test_only_work_that_came_alone_is_allocated_alone(worker: Connection) -> None:
    books = Books(worker)
    await several(books)
    await allocate(worker, now=LATER)
    await books.usage(WINDOWS[0], Tokens(output=1), instance="engine-0", buyer=OTHER)
    await books.usage(WINDOWS[3], Tokens(output=1), instance="engine-0", buyer=OTHER)
    await books.readings("GPU-1", steady(range(2705, 2800, 10), base_mj=10**9))
    entity = await _factory(worker)
    last = await stage_runs.find_last_run(worker, stage="allocate", entity_id="factory")
    cut_off = await draw_cut_off(worker, "test")
    found = await find_due(StageContext(worker, entity, last, cut_off, LATER))
    assert set(found.windows) >= {WINDOWS[0], WINDOWS[3]}
    assert set(found.touched) == {WINDOWS[0]}
