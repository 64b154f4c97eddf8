"""Hosts and sites are measured where they have meters, and a calibration makes energy true."""

from collections.abc import Iterable

from ledger.flows.cost.allocate import allocate
from ledger.reports.metering.coverage import coverage_report
from ledger.store.connect import draw_cut_off
from ledger.store.queries import Connection
from tests.support.books import Books
from tests.support.one_gpu import GPU, LATER, START, at, lines_of, meters_of, one_gpu, steady

HOUR = range(0, 3_601, 10)
IDLE = "deployment:chat/idle"


async def metered(books: Books, name: str, power_mw: int, seconds: Iterable[int] = HOUR) -> None:
    await books.readings(name, steady(seconds, power_mw=power_mw, base_mj=77))


async def test_a_metered_host_and_a_metered_site_stand_where_they_were_declared(
    worker: Connection,
) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.readings(GPU, steady(HOUR))
    end = at(3_600)
    await books.energy_meter("host-1", START, end, measures="host", gpus=[GPU, "GPU-b"])
    await books.energy_meter("it-1", START, end, measures="it")
    await books.energy_meter("site-1", START, end, measures="facility")
    await metered(books, "host-1", 240_000)
    await metered(books, "it-1", 1_000_000)
    await metered(books, "site-1", 1_100_000)
    await allocate(worker, now=LATER)
    line = (await lines_of(worker, START))[IDLE]
    assert line["host_mj"] == 900 * 120_000, "half of the host's is the other GPU's"
    assert line["overhead_mj"] == 900 * (400_000 + 120_000) // 10
    assert await meters_of(worker, "host-1") == [], "no GPU is behind it"
    cut_off = await draw_cut_off(worker, "report")
    report = await coverage_report(
        worker, entity_id="factory", since=START, until=end, cut_off=cut_off
    )
    assert report.stray_gpus == ()


async def test_a_module_whose_counter_has_its_host_gets_no_host_beside_it(
    worker: Connection,
) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.readings(GPU, steady(HOUR), scope="module")
    await books.energy_meter("host-1", at(900), at(1_800), measures="host", gpus=[GPU])
    await metered(books, "host-1", 240_000)
    await allocate(worker, now=LATER)
    for second in (0, 900):
        line = (await lines_of(worker, at(second)))[IDLE]
        assert line["device_metered_mj"] == 900 * 400_000
        assert line["host_mj"] == 0
        assert line["overhead_mj"] == 900 * 400_000 // 5


async def test_a_module_beside_a_gpu_leaves_that_its_own_part_of_their_host(
    worker: Connection,
) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.readings(GPU, steady(HOUR))
    await books.readings("GPU-b", steady(HOUR), scope="module")
    await books.energy_meter("host-1", START, at(3_600), measures="host", gpus=[GPU, "GPU-b"])
    await metered(books, "host-1", 240_000)
    await allocate(worker, now=LATER)
    lines = await lines_of(worker, START)
    assert lines[IDLE]["host_mj"] == 900 * 120_000
    assert lines["gpu:GPU-b/unattributed"]["host_mj"] == 0


async def test_where_a_meter_was_silent_what_was_declared_stands(worker: Connection) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.readings(GPU, steady(HOUR))
    await books.energy_meter("host-1", START, at(3_600), measures="host", gpus=[GPU])
    await books.energy_meter("site-1", START, at(3_600), measures="facility")
    await metered(books, "host-1", 240_000, range(0, 1_701, 10))
    await metered(books, "site-1", 1_100_000)
    await allocate(worker, now=LATER)
    first = (await lines_of(worker, START))[IDLE]
    second = (await lines_of(worker, at(900)))[IDLE]
    assert (first["host_mj"], second["host_mj"]) == (900 * 240_000, 900 * 50_000)
    assert first["overhead_mj"] == 900 * (400_000 + 240_000) // 5


async def test_a_site_that_uses_less_than_its_load_is_not_believed(worker: Connection) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.readings(GPU, steady(HOUR))
    for name, measures, power_mw in (("it", "it", 1_000_000), ("all", "facility", 999_999)):
        await books.energy_meter(name, START, at(3_600), measures=measures)
        await metered(books, name, power_mw)
    await allocate(worker, now=LATER)
    line = (await lines_of(worker, START))[IDLE]
    assert line["overhead_mj"] == 900 * (400_000 + 50_000) // 5


async def test_a_calibration_holds_from_its_day_on_and_the_counter_stays(
    worker: Connection,
) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.readings(GPU, steady(HOUR))
    await allocate(worker, now=LATER)
    before = await meters_of(worker)
    await books.energy_meter(GPU, at(900), at(1_800), gain="1.05", offset_mw=-2_000)
    await allocate(worker, now=LATER)
    first, second, third, *_ = await meters_of(worker)
    assert first["metered_mj"] == third["metered_mj"] == 900 * 400_000
    assert second["metered_mj"] == 900 * (420_000 - 2_000)
    assert second["revision"] == before[1]["revision"] + 1
    raw = await worker.fetchval("SELECT max(energy_mj) - min(energy_mj) FROM gpu_reading")
    assert raw == 3_600 * 400_000
