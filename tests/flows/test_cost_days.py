"""Days of cost are the sums of their windows, at every cut-off, whatever is allocated when."""

import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from ledger.domain.period import DAY, Period, day_of, windows
from ledger.domain.period import midnight as local_midnight
from ledger.flows.books.check_books import check_books
from ledger.flows.cost.allocate import allocate
from ledger.store.api_reads import sum_hourly
from ledger.store.cost import margin
from ledger.store.queries import Connection
from ledger.store.within import Within
from tests.flows.test_allocate_conservation import (
    END,
    random_fleet,
    random_readings,
    random_usage,
)
from tests.support.books import Books, Buyer, Tokens
from tests.support.one_gpu import GPU, LATER, QUARTER, START, one_gpu, steady

# Where a day ends an hour behind the start, in winter and not on an hour of UTC, and at noon.
DAYS = ("cost_day", "pool_day", "meter_day")
ZONES = ("Pacific/Auckland", "Asia/Kathmandu", "UTC")
AUCKLAND_MIDNIGHT = START + timedelta(hours=1)
AMOUNTS = (
    "sum(busy_s), sum(device_metered_mj), sum(device_estimated_mj), sum(host_mj), sum(overhead_mj),"
    " sum(device_cost), sum(overhead_cost), sum(gpu_cost)"
)
GROUP = "scope, line, usage_key_id, currency::text, gpu_terms"
BY_DAY = f"SELECT {GROUP}, {AMOUNTS} FROM costs_at($1, 'factory', $2, $3) GROUP BY 1, 2, 3, 4, 5"
BY_WINDOW = (
    f"SELECT {GROUP}, {AMOUNTS} FROM cost_lines_at($1) WHERE entity_id = 'factory'"
    " AND window_start >= $2 AND window_start < $3 GROUP BY 1, 2, 3, 4, 5"
)


async def differing(
    connection: Connection, periods: Sequence[tuple[datetime, datetime]]
) -> list[object]:
    """Cut-offs and periods at which days do not say what windows do; lines of nothing aside."""
    last = await connection.fetchval("SELECT max(batch_seq) FROM cost_allocation")
    found: list[object] = []
    for seq in (*range(last + 1), 2**62):
        for since, until in periods:
            by_day = await connection.fetch(BY_DAY, seq, since, until)
            by_window = await connection.fetch(BY_WINDOW, seq, since, until)
            unlike = {tuple(row) for row in by_day} ^ {tuple(row) for row in by_window}
            if any(any(row[5:]) for row in unlike):
                found.append((seq, since, until))
    return found


async def differing_beside(
    connection: Connection, periods: Sequence[tuple[datetime, datetime]]
) -> list[object]:
    """The same of pools, and of meters and the times in which these are known."""
    last = await connection.fetchval("SELECT max(batch_seq) FROM cost_pool")
    return [
        (seq, since, until)
        for seq in (*range(last + 1), 2**62)
        for since, until in periods
        if await _by_days(connection, Within(since=since, until=until, batch_seq=seq))
        != await _by_windows(connection, seq, since, until)
    ]


async def _by_days(connection: Connection, within: Within) -> list[object]:
    gpus = [row[0] for row in await connection.fetch("SELECT DISTINCT gpu_uuid FROM meter_window")]
    pools = await margin.sum_pools(connection, entity_id="factory", **within)
    meters: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for each in await margin.sum_meter_windows(connection, **within):
        for n, more in enumerate(each[3:]):
            meters[each.gpu_uuid][n] += int(str(more))
    spans = await margin.find_metered_spans(connection, gpu_uuids=gpus, **within)
    known = {(gpu, at) for gpu, of in spans.items() for a, b in of for at in windows(Period(a, b))}
    return [{tuple(pool) for pool in pools if pool.amount}, dict(meters), known]


async def _by_windows(
    connection: Connection, seq: int, since: datetime, until: datetime
) -> list[object]:
    asked = (seq, since, until)
    pools = await connection.fetch(
        """SELECT currency::text, kind, sum(amount) FROM pools_at($1) WHERE window_start >= $2
            AND window_start < $3 GROUP BY 1, 2 HAVING sum(amount) <> 0""",
        *asked,
    )
    meters = await connection.fetch(
        "SELECT * FROM meters_at($1) WHERE window_start >= $2 AND window_start < $3", *asked
    )
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for row in meters:
        values = (row["metered_mj"], row["estimated_mj"], row["covered_s"], 1)
        sums[row["gpu_uuid"]] = [a + b for a, b in zip(sums[row["gpu_uuid"]], values, strict=True)]
    known = {
        (row["gpu_uuid"], row["window_start"])
        for row in meters
        if row["covered_s"] or row["metered_mj"]
    }
    return [{tuple(pool) for pool in pools}, dict(sums), known]


@pytest.mark.parametrize("zone", ZONES)
async def test_days_say_what_windows_do_at_every_cut_off(worker: Connection, zone: str) -> None:
    rng = random.Random(zone)
    books = Books(worker)
    for gpu in await random_fleet(books, rng, zone=zone):
        await random_readings(books, rng, gpu)
    for now in (START + 3 * QUARTER, START + 5 * QUARTER, END + 5 * QUARTER, END, LATER + DAY, END):
        await random_usage(books, rng)
        await allocate(worker, now=now)
    summed = await worker.fetchval("SELECT count(*) FROM cost_day")
    assert summed == {"Pacific/Auckland": 2, "Asia/Kathmandu": 1, "UTC": 1}[zone]
    periods = [
        (START - DAY, START + 2 * DAY),
        (AUCKLAND_MIDNIGHT, END),
        (START - DAY, AUCKLAND_MIDNIGHT + QUARTER),
        (START + QUARTER, START + QUARTER),
    ]
    assert await differing(worker, periods) == []
    assert await differing_beside(worker, periods) == []
    proofs = (await check_books(worker)).proofs
    assert not any(proofs[name] for name in DAYS)


async def test_days_of_pools_and_meters_are_read_as_they_are_stored(worker: Connection) -> None:
    books = Books(worker)
    midnight = LATER - DAY
    await books.entity()
    await books.facility()
    await books.pue(midnight, LATER + DAY, pue="1.2", host_mw_per_gpu=50_000)
    await books.tariff([(midnight, LATER + DAY, "100")])
    await books.lease(midnight, LATER + DAY, all_in=False)
    await books.deployment(midnight, LATER + DAY, gpus=[GPU])
    await books.readings(GPU, steady(range(-36_600, 3 * 3_600, 600), base_mj=10**11))
    await allocate(worker, now=LATER + QUARTER)
    await books.usage(START, Tokens(uncached=100))
    await books.readings(GPU, steady(range(5 * 3_600, 52_000, 600), base_mj=10**11))
    await allocate(worker, now=LATER + DAY)
    await books.readings("GPU-stray", steady(range(0, 3_601, 60)))
    await allocate(worker, now=LATER + DAY)
    periods = [(midnight, LATER), (midnight - DAY, LATER + DAY), (START, LATER + QUARTER)]
    assert await differing_beside(worker, periods) == []
    stored = await worker.fetch(
        """SELECT gpu_uuid, day_start, sum(windows) AS windows, sum(known) AS known FROM meter_day
            GROUP BY 1, 2 ORDER BY 1, 2"""
    )
    assert [tuple(row) for row in stored if row["day_start"] == midnight] == [
        (GPU, midnight, 96, 96),
        ("GPU-stray", midnight, 4, 4),
    ]
    assert await worker.fetchval("SELECT count(DISTINCT day_start) FROM pool_day") == 2
    for zone in ("UTC", "Asia/Kathmandu"):
        by_day = await _hourly(worker, midnight - DAY, LATER + DAY, "day", zone)
        by_hour = await _hourly(worker, midnight - DAY, LATER + DAY, "hour", zone)
        summed: dict[datetime, list[Decimal]] = defaultdict(lambda: [Decimal(0)] * 2)
        for hour, (cost, idle) in by_hour.items():
            start = local_midnight(day_of(hour, zone), zone)
            summed[start] = [summed[start][0] + cost, summed[start][1] + idle]
        assert by_day == {day: tuple(sums) for day, sums in summed.items()}


async def _hourly(
    connection: Connection, since: datetime, until: datetime, step: str, zone: str
) -> dict[datetime, tuple[Decimal, ...]]:
    rows = await sum_hourly(
        connection, entity_id="factory", since=since, until=until, step=step, zone_name=zone
    )
    return {row.hour: (row.cost or Decimal(0), row.idle or Decimal(0)) for row in rows}


async def test_a_day_is_one_row_a_line_however_often_it_was_allocated(worker: Connection) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.lease(LATER, LATER + QUARTER, asset_id="later")
    await books.readings(GPU, steady(range(0, 3601, 10)))
    for n in range(4):
        window = START + n * QUARTER
        for minute in (0, 5, 10):
            seconds = range(60 * minute, 300 + 60 * minute)
            await books.usage(window, Tokens(uncached=100), busy=seconds)
            await allocate(worker, now=window + timedelta(minutes=minute + 5))
    rows = "SELECT line, device_metered_mj AS mj FROM cost_day_line"
    assert await worker.fetch(rows) == []
    await allocate(worker, now=LATER + QUARTER)
    (usage,) = [row for row in await worker.fetch(rows) if row["line"] == "usage"]
    assert usage["mj"] == 3_600 * 400_000
    assert (await allocate(worker, now=LATER + 2 * QUARTER)).rows_written == 0
    assert len([row for row in await worker.fetch(rows) if row["line"] == "usage"]) == 1


async def test_a_late_event_adds_what_it_moves(worker: Connection) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.readings(GPU, steady(range(0, 3601, 10)))
    await books.usage(START, Tokens(uncached=100))
    await allocate(worker, now=LATER)
    first = await worker.fetchval("SELECT max(batch_seq) FROM cost_day_line")
    await books.usage(START, Tokens(uncached=300), buyer=Buyer(agent_id="late"))
    await allocate(worker, now=LATER)
    moved = await worker.fetch(
        "SELECT line, device_metered_mj AS mj FROM cost_day_line WHERE batch_seq > $1 ORDER BY 2",
        first,
    )
    whole = 900 * 400_000
    assert [tuple(row) for row in moved] == [("usage", -whole * 3 // 4), ("usage", whole * 3 // 4)]


async def test_a_day_behind_which_nothing_came_is_added_up_with_the_next_that_costs(
    worker: Connection,
) -> None:
    books = Books(worker)
    await books.entity()
    await books.facility()
    await books.lease(START, START + QUARTER)
    await books.lease(START + 3 * DAY, START + 3 * DAY + QUARTER, asset_id="later")
    await allocate(worker, now=START + QUARTER)
    assert await worker.fetchval("SELECT count(*) FROM cost_day") == 0
    await allocate(worker, now=START + 3 * DAY + QUARTER)
    days = await worker.fetch("SELECT day_start, day_end FROM cost_day")
    assert [tuple(row) for row in days] == [(LATER - DAY, LATER)]
