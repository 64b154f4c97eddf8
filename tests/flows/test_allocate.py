"""Costs follow what was measured, to the last unit, and change only where something changed."""

from decimal import Decimal

from ledger.demo import published_day
from ledger.flows.cost.allocate import allocate
from ledger.store.queries import Connection
from tests.support.books import Books, Buyer, Tokens
from tests.support.one_gpu import GPU, LATER, QUARTER, START, lines_of, one_gpu, steady

HOURLY_USD = [
    *[4448] * 12,
    *(3488, 3128, 2408, 1328, 1088, 1088, 1328, 2528, 3968),
    *[4448] * 3,
]


async def test_busy_seconds_cost_their_users_and_other_seconds_are_idle(worker: Connection) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.readings(GPU, steady(range(0, 3601, 10)))
    await books.usage(START, Tokens(uncached=100, output=10), busy=range(300))
    await allocate(worker, now=LATER)
    lines = await lines_of(worker, START)
    usage, idle = lines["deployment:chat/usage"], lines["deployment:chat/idle"]
    assert usage["device_metered_mj"] == 300 * 400_000
    assert idle["device_metered_mj"] == 600 * 400_000
    assert usage["busy_s"] == 300
    assert usage["host_mj"] == 300 * 50_000
    assert usage["overhead_mj"] == 300 * 450_000 // 5
    # 300 s × 450 W × 1.2 = 0.045 kWh, at 0.10 EUR.
    spent = usage["device_cost"] + usage["overhead_cost"]
    assert spent == Decimal("0.0045")


async def test_published_day_costs_what_was_published_hour_by_hour(worker: Connection) -> None:
    books = Books(worker)
    await books.entity("published-day", currency="USD")
    await books.facility("site", "published-day")
    for since, until, nodes in published_day.node_periods():
        await books.lease(
            since, until, gpu_count=8 * nodes, currency="USD", entity_id="published-day"
        )
        await books.deployment(
            since,
            until,
            model=published_day.MODEL,
            gpu_count=8 * nodes,
            entity_id="published-day",
        )
    buyers = [
        Buyer(
            customer_id=buyer.customer_id,
            customer_ref=buyer.customer_id,
            entity_id="published-day",
            tier=tier,
            model=published_day.MODEL,
            agent_id=f"{agent}{n}",
        )
        for buyer in published_day.BUYERS
        for agent in buyer.agents
        for tier in published_day.TIERS
        for n in range(4)
    ]
    await books.usages(
        [
            (published_day.START + n * QUARTER, Tokens(10 + n + m, 3, 0, 7 * m), buyer)
            for n in range(96)
            for m, buyer in enumerate(buyers)
        ]
    )
    report = await allocate(worker, now=LATER)
    assert report.windows == 96
    rows = await worker.fetch(
        """SELECT date_bin('1 hour', window_start, $1) AS hour,
                  sum(gpu_cost + device_cost + overhead_cost) AS cost
             FROM cost_lines_at(as_it_stands()) GROUP BY hour ORDER BY hour""",
        published_day.START,
    )
    assert [row["cost"] for row in rows] == HOURLY_USD
    assert sum(HOURLY_USD) == 87_072
    assert (await allocate(worker, now=LATER)).rows_written == 0


async def test_running_again_writes_nothing_and_a_late_event_revises_only_its_window(
    worker: Connection,
) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.readings(GPU, steady(range(0, 3601, 10)))
    for n in range(4):
        await books.usage(START + n * QUARTER, Tokens(uncached=100, output=10))
    first = await allocate(worker, now=LATER)
    assert first.rows_written > 0
    assert (await allocate(worker, now=LATER)).rows_written == 0
    late = Buyer(customer_id="acme", agent_id="late")
    await books.usage(START + QUARTER, Tokens(uncached=50), buyer=late)
    second = await allocate(worker, now=LATER)
    revised = await worker.fetch(
        """SELECT window_start, line, revision, lines
             FROM cost_allocation WHERE cut_off_id = $1""",
        second.cut_off.cut_off_id,
    )
    assert [tuple(row) for row in revised] == [(START + QUARTER, "usage", 2, 2)]
    assert (await allocate(worker, now=LATER)).rows_written == 0
