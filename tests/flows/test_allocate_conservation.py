"""Over random small fleets nothing is lost: meters equal lines, pools equal lines."""

import random
from datetime import timedelta
from itertools import pairwise

import pytest

from ledger.flows.cost.allocate import allocate
from ledger.store.queries import Connection
from tests.support.books import Books, Buyer, Tokens
from tests.support.one_gpu import LATER, QUARTER, START, at

HOURS = 2
END = START + timedelta(hours=HOURS)
RESIDUALS = """
WITH lines AS (
  SELECT a.scope, a.window_start, l.device_metered_mj, l.device_estimated_mj,
         l.device_low / 1e12 + coalesce(l.device_high, 0) * 1e4 AS device_cost,
         l.overhead_low / 1e12 + coalesce(l.overhead_high, 0) * 1e4 AS overhead_cost,
         l.gpu_low / 1e12 + coalesce(l.gpu_high, 0) * 1e4 AS gpu_cost
    FROM (SELECT DISTINCT ON (scope, window_start, line) * FROM cost_allocation
           ORDER BY scope, window_start, line, revision DESC) a
    LEFT JOIN cost_share s ON s.scope = a.scope AND s.window_start = a.window_start
                          AND s.revision = a.revision AND a.line = 'usage'
   CROSS JOIN LATERAL unnest(
     coalesce(s.device_metered_mj, ARRAY[a.device_metered_mj]),
     coalesce(s.device_estimated_mj, ARRAY[a.device_estimated_mj]),
     coalesce(s.device_cost_low::numeric[], ARRAY[a.device_cost * 1e12]), s.device_cost_high,
     coalesce(s.overhead_cost_low::numeric[], ARRAY[a.overhead_cost * 1e12]), s.overhead_cost_high,
     coalesce(s.gpu_cost_low::numeric[], ARRAY[a.gpu_cost * 1e12]), s.gpu_cost_high)
                   AS l(device_metered_mj, device_estimated_mj, device_low, device_high,
                        overhead_low, overhead_high, gpu_low, gpu_high)
), pools AS (
  SELECT DISTINCT ON (scope, window_start, kind) * FROM cost_pool
   ORDER BY scope, window_start, kind, revision DESC
), meters AS (
  SELECT DISTINCT ON (gpu_uuid, window_start) * FROM meter_window
   ORDER BY gpu_uuid, window_start, revision DESC
), per_scope AS (
  SELECT scope, window_start, sum(device_cost + overhead_cost) AS electricity, sum(gpu_cost) AS gpu
    FROM lines GROUP BY scope, window_start
)
SELECT (SELECT sum(metered_mj) FROM meters) - (SELECT sum(device_metered_mj) FROM lines) AS metered,
       (SELECT sum(estimated_mj) FROM meters) - (SELECT sum(device_estimated_mj) FROM lines)
         AS estimated,
       (SELECT count(*) FROM per_scope s
         WHERE s.electricity <> coalesce((SELECT p.amount FROM pools p WHERE p.scope = s.scope
                 AND p.window_start = s.window_start AND p.kind = 'electricity'), 0)
            OR s.gpu <> coalesce((SELECT p.amount FROM pools p WHERE p.scope = s.scope
                 AND p.window_start = s.window_start AND p.kind = 'gpu'), 0)) AS cost,
       (SELECT sum(metered_mj + estimated_mj) FROM meters) AS energy
"""


async def random_fleet(books: Books, rng: random.Random, *, zone: str = "UTC") -> list[str]:
    """Two racks, some deployments of some of their GPUs, power prices that change at odd times."""
    await books.entity(zone=zone)
    await books.facility()
    await books.pue(START, END, pue=f"1.{rng.randrange(1, 60)}", host_mw_per_gpu=37_123)
    edges = sorted({0, 7200, *(rng.randrange(1, 7200) for _ in range(5))})
    await books.tariff(
        [
            (at(since), at(until), f"{rng.randrange(-40, 300)}.{rng.randrange(1_000_000):06d}")
            for since, until in pairwise(edges)
        ]
    )
    await books.owned(START, END, asset_id="bought", gpu_count=5, price="99999.99", life_months=37)
    await books.lease(START, END, asset_id="leased", gpu_count=3, rate="1.6180339", all_in=False)
    gpus = [f"GPU-{n}" for n in range(6)]
    await books.deployment(START, END, deployment_id="a", asset_id="bought", gpus=gpus[:2])
    await books.deployment(
        START + QUARTER, END - QUARTER, deployment_id="b", asset_id="bought", gpus=gpus[2:3]
    )
    # One of its engines has a board of its own.
    await books.deployment(
        START,
        END,
        deployment_id="c",
        asset_id="leased",
        gpus=gpus[3:5],
        instances=["i", "j"],
        instance_gpus={"i": gpus[3:4]},
    )
    return gpus


async def random_readings(books: Books, rng: random.Random, gpu: str) -> None:
    """A counter with gaps and a restart, its batches stored in any order."""
    second, counter, epoch = 0, rng.randrange(10**12), 0
    batches: dict[int, list[tuple[int, int]]] = {0: []}
    while second <= HOURS * 3600:
        batches[epoch].append((second, counter))
        step = rng.choice((5, 10, 10, 10, 17, 250))
        second, counter = second + step, counter + step * rng.randrange(60_000, 700_000)
        if rng.random() < 0.005:
            epoch, counter = epoch + 1, rng.randrange(10**7)
            batches[epoch] = []
    order = list(batches)
    rng.shuffle(order)
    for number in order:
        await books.readings(
            gpu, [(at(s), mj) for s, mj in batches[number]], epoch=f"load-{number}"
        )


async def random_usage(books: Books, rng: random.Random) -> None:
    for _ in range(12):
        buyer = rng.choice(
            (Buyer(), Buyer(tier="batch"), Buyer(None, "walk-in", None), Buyer(agent_id="x"))
        )
        since = rng.randrange(900)
        await books.usage(
            START + rng.randrange(4 * HOURS) * QUARTER,
            Tokens(*(rng.randrange(1000) for _ in range(4))),
            buyer=buyer,
            instance=rng.choice(("", "i", "j")),
            busy=range(since, rng.randrange(since, 900) + 1),
        )


@pytest.mark.parametrize("seed", range(6))
async def test_nothing_is_lost_in_a_random_fleet(worker: Connection, seed: int) -> None:
    rng = random.Random(seed)
    books = Books(worker)
    for gpu in await random_fleet(books, rng):
        await random_readings(books, rng, gpu)
    for _ in range(2):
        await random_usage(books, rng)
        await allocate(worker, now=LATER)
        found = await worker.fetchrow(RESIDUALS)
        assert found is not None
        assert (found["metered"], found["estimated"], found["cost"]) == (0, 0, 0)
        assert found["energy"] > 0
    assert (await allocate(worker, now=LATER)).rows_written == 0
