"""Meters that lie, collectors that forget and clocks that jump change no energy, and are named."""

from datetime import datetime

import pytest

from ledger.flows.cost.allocate import allocate
from ledger.store.cost.margin import find_metered_spans
from ledger.store.queries import Connection
from tests.support.books import Books
from tests.support.one_gpu import GPU, LATER, START, at, meters_of, one_gpu, steady


async def energy_mj(worker: Connection) -> int:
    return sum(row["metered_mj"] + row["estimated_mj"] for row in await meters_of(worker))


async def named(worker: Connection) -> set[str]:
    return {finding for row in await meters_of(worker) for finding in row["findings"]}


async def test_a_collector_that_lost_its_state_books_what_the_counter_grew(
    worker: Connection,
) -> None:
    books = Books(worker)
    await one_gpu(books)
    lived = 10_800_000_000
    await books.readings(GPU, steady(range(0, 601, 10), base_mj=lived))
    await books.readings(GPU, steady(range(2400, 3601, 10), base_mj=lived), epoch="boot-1.later")
    await allocate(worker, now=LATER)
    assert await energy_mj(worker) == 3600 * 400_000
    assert await named(worker) == {"epoch_changed"}


async def test_two_collectors_of_one_board_count_its_energy_once(worker: Connection) -> None:
    books = Books(worker)
    await one_gpu(books)
    lived = 51_840_000_000
    await books.readings(GPU, steady(range(0, 3601, 10), base_mj=lived), source="/host/a")
    other = steady(range(5, 3601, 10), base_mj=lived)
    await books.readings(GPU, other, source="/host/b", epoch="boot-1.b")
    await allocate(worker, now=LATER)
    assert await energy_mj(worker) == 3600 * 400_000
    assert all(row["estimated_mj"] == 0 for row in await meters_of(worker))


async def test_a_counter_that_stands_still_under_load_is_missing_and_named(
    worker: Connection,
) -> None:
    books = Books(worker)
    await one_gpu(books)
    still = [(at(second), 7_000_000_000) for second in range(0, 3601, 10)]
    await books.readings(GPU, still, power_mw=350_000)
    cut_off = (await allocate(worker, now=LATER)).cut_off
    assert await named(worker) == {"counter_frozen"}
    assert (
        await find_metered_spans(
            worker, gpu_uuids=[GPU], since=START, until=at(3600), batch_seq=cut_off.batch_seq
        )
        == {}
    )


@pytest.mark.parametrize("back_s", [2, 60, 300, 3600])
async def test_a_clock_set_back_changes_no_energy(worker: Connection, back_s: int) -> None:
    books = Books(worker)
    await one_gpu(books, hours=3)
    readings = steady(range(0, 5400, 10))
    readings += [(at(s - back_s), mj) for s, (_, mj) in _numbered(5400, 9001)]
    for first in range(0, len(readings), 90):
        await books.readings(GPU, readings[first : first + 90])
        await allocate(worker, now=LATER)
    assert await energy_mj(worker) == 9000 * 400_000


async def test_a_clock_set_back_by_hours_books_a_lower_bound_and_is_named(
    worker: Connection,
) -> None:
    books = Books(worker)
    await one_gpu(books, hours=4)
    readings = steady(range(0, 14_400, 10))
    readings += [(at(s - 10_800), mj) for s, (_, mj) in _numbered(14_400, 18_001)]
    await books.readings(GPU, readings)
    await allocate(worker, now=LATER)
    assert 14_380 * 400_000 <= await energy_mj(worker) <= 18_000 * 400_000
    assert "readings_disagree" in await named(worker)


def _numbered(first: int, last: int) -> list[tuple[int, tuple[datetime, int]]]:
    seconds = range(first, last, 10)
    return list(zip(seconds, steady(seconds), strict=True))


async def test_windows_come_to_the_same_alone_and_together(worker: Connection) -> None:
    """What a glitch means is decided from the window's own surroundings, whatever is asked for."""
    books = Books(worker)
    await one_gpu(books)
    readings = steady(range(0, 3601, 10))
    glitched = [
        (moment, 5) if n in (100, 200, 201) else (moment, mj)
        for n, (moment, mj) in enumerate(readings)
    ]
    for first in range(0, len(glitched), 40):
        await books.readings(GPU, glitched[first : first + 40])
        await allocate(worker, now=glitched[min(first + 39, len(glitched) - 1)][0])
    together = await allocate(worker, now=LATER)
    assert await energy_mj(worker) == 3600 * 400_000
    assert await named(worker) == {"readings_disagree"}
    assert (await allocate(worker, now=LATER)).rows_written == 0
    assert together.rows_written == 0
