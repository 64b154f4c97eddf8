"""Energy is what the counters say, and estimated where they were silent."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from ledger.flows.cost.allocate import allocate
from ledger.store.queries import Connection
from tests.support.books import Books, Tokens
from tests.support.one_gpu import (
    GPU,
    LATER,
    QUARTER,
    START,
    at,
    lines_of,
    meters_of,
    one_gpu,
    steady,
)


async def test_windows_add_up_to_the_last_counter_minus_the_first(worker: Connection) -> None:
    books = Books(worker)
    await one_gpu(books)
    readings = steady(range(3, 3600, 7), power_mw=333_333)
    await books.readings(GPU, readings)
    await allocate(worker, now=LATER)
    found = sum(row["metered_mj"] + row["estimated_mj"] for row in await meters_of(worker))
    assert found == readings[-1][1] - readings[0][1]


async def test_counter_that_starts_again_is_never_subtracted_from_the_old_one(
    worker: Connection,
) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.readings(GPU, steady(range(0, 901, 10)))
    restarted = [(at(s), 7_000 + (s - 930) * 400_000) for s in range(930, 3601, 10)]
    await books.readings(GPU, restarted, epoch="boot-2")
    await allocate(worker, now=LATER)
    first, second, *_ = await meters_of(worker)
    assert (first["metered_mj"], first["estimated_mj"]) == (900 * 400_000, 0)
    assert second["estimated_mj"] == 7_000
    assert second["metered_mj"] == 870 * 400_000
    assert second["findings"] == ["counter_reset"]


async def test_energy_across_a_gap_is_estimated_and_conserved(worker: Connection) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.readings(GPU, steady([*range(0, 601, 10), *range(1200, 3601, 10)]))
    await allocate(worker, now=LATER)
    first, second, *_ = await meters_of(worker)
    assert (first["metered_mj"], first["estimated_mj"]) == (600 * 400_000, 300 * 400_000)
    assert (second["metered_mj"], second["estimated_mj"]) == (600 * 400_000, 300 * 400_000)
    assert first["findings"] == ["gap"]
    lines = await lines_of(worker, START)
    assert lines["deployment:chat/idle"]["device_estimated_mj"] == 300 * 400_000


async def test_reading_that_closes_a_gap_later_revises_only_the_windows_around_it(
    worker: Connection,
) -> None:
    books = Books(worker)
    await one_gpu(books, hours=3)
    await books.readings(GPU, steady([*range(0, 3601, 10), *range(7200, 10_801, 10)]))
    await allocate(worker, now=LATER)
    await books.readings(GPU, [(at(5400), 10_000_000 + 5400 * 400_000 + 999)])
    second = await allocate(worker, now=LATER)
    revised = await worker.fetch(
        "SELECT window_start FROM meter_window WHERE cut_off_id = $1 ORDER BY 1",
        second.cut_off.cut_off_id,
    )
    assert [row["window_start"] for row in revised] == [START + n * QUARTER for n in range(4, 8)]


async def test_tariff_is_cut_inside_a_window_on_a_day_of_25_hours(worker: Connection) -> None:
    books = Books(worker)
    # 02:00 to 03:00 local time happens twice; the price changes five minutes into a window.
    day = datetime(2024, 10, 26, 22, tzinfo=UTC)
    end = day + timedelta(hours=25)
    change = datetime(2024, 10, 27, 1, 5, tzinfo=UTC)
    await books.entity(zone="Europe/Copenhagen")
    await books.facility(zone="Europe/Copenhagen")
    await books.pue(day, end, pue="1")
    await books.tariff([(day, change, "90"), (change, end, "-30")])
    await books.lease(day, end, rate="0", all_in=False)
    await books.deployment(day, end, gpus=[GPU])
    counter = [(day + timedelta(seconds=30 * n), 36_000_000 * n) for n in range(25 * 120 + 1)]
    await books.readings(GPU, counter)
    report = await allocate(worker, now=LATER)
    assert report.windows == 100
    lines = await lines_of(worker, datetime(2024, 10, 27, 1, tzinfo=UTC))
    # 1.2 kW: 0.1 kWh at 0.09 and 0.2 kWh at −0.03.
    assert lines["deployment:chat/idle"]["device_cost"] == Decimal("0.003")
    total = await worker.fetchval("SELECT sum(amount) FROM cost_pool WHERE kind = 'electricity'")
    # 3 h 5 min of 1.2 kW at 0.09, then 21 h 55 min at −0.03.
    assert total == Decimal("3.7") * Decimal("0.09") - Decimal("26.3") * Decimal("0.03")


async def test_readings_of_an_all_in_lease_tell_energy_and_cost_nothing(
    worker: Connection,
) -> None:
    books = Books(worker)
    await books.entity()
    await books.facility()
    await books.lease(START, at(3600), rate="2")
    await books.deployment(START, at(3600), gpus=[GPU])
    await books.readings(GPU, steady(range(0, 3601, 10)))
    await books.usage(START, Tokens(output=5))
    await allocate(worker, now=LATER)
    usage = (await lines_of(worker, START))["deployment:chat/usage"]
    assert usage["device_metered_mj"] == 900 * 400_000
    assert (usage["device_cost"], usage["overhead_cost"]) == (0, 0)
    assert usage["gpu_cost"] == Decimal("0.5")
    assert await worker.fetchval("SELECT count(*) FROM cost_pool WHERE kind = 'electricity'") == 0


async def test_meter_in_nobodys_deployment_is_unattributed(worker: Connection) -> None:
    books = Books(worker)
    await one_gpu(books, hours=2)
    await books.close("deployment", "deployment_id = 'chat'")
    await books.close("deployment_member", "deployment_id = 'chat'")
    await books.deployment(START, at(3600), deployment_id="chat-2", gpus=[GPU])
    await books.readings(GPU, steady(range(0, 7201, 10)))
    await allocate(worker, now=LATER)
    lines = await lines_of(worker, at(3600))
    loose = lines[f"gpu:{GPU}/unattributed"]
    assert loose["device_metered_mj"] == 900 * 400_000
    assert loose["device_cost"] + loose["overhead_cost"] == Decimal("0.0135")
    assert loose["gpu_cost"] == 0
    assert lines["asset:rack/idle"]["gpu_cost"] > 0


async def test_meter_no_deployment_ever_named_belongs_to_the_only_entity(
    worker: Connection,
) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.readings("GPU-stray", steady(range(0, 3601, 10)))
    await allocate(worker, now=LATER)
    lines = await lines_of(worker, START)
    assert lines["gpu:GPU-stray/unattributed"]["device_metered_mj"] == 900 * 400_000
