"""Whether an event costs as much at 50 million stored as at one: five slices timed at each mark.

The first slice is stored by ingest and is the first mark. What it wrote is then repeated on the
server until the next mark stands, with all indexes, and slices are timed again.
"""

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial

import asyncpg

from benchmarks import events
from benchmarks.events import FIRST_TAG, Batch
from benchmarks.harness import Figure, median
from benchmarks.ingest import store
from benchmarks.scale import RUNS, scaled
from benchmarks.server import bench_server, sql
from benchmarks.stream import check_stored
from ledger.domain.errors import UnavailableError
from ledger.flows.directory import DirectoryCache
from ledger.store.connect import connect
from tests.support.database import Database

SLICE = 1_000_000
# Stored events at which slices are timed, in slices.
MARKS = (1, 10, 50)
REACH = 1.15
# A fact, its key, indexes and what was kept aside, with room for WAL.
BYTES_AN_EVENT = 450
BYTES_BESIDE = 10 * 2**30
FORMS: dict[str, Callable[[int], Iterator[Batch]]] = {
    "sequenced": events.sequenced,
    "ordered": events.ordered,
}


def benchmark(form: str) -> Callable[[], list[Figure]]:
    """The benchmark of one form."""
    return partial(_measure, form)


def _measure(form: str) -> list[Figure]:
    size = scaled(SLICE, events.RECORD_EVENTS)
    _require_room((MARKS[-1] + RUNS) * size)
    with bench_server(events.customers()) as bench, bench.fresh() as database:
        costs = asyncio.run(_costs(database, list(FORMS[form](size))))
    return [_figure(form, size, costs)]


def _require_room(stored: int) -> None:
    needed = stored * BYTES_AN_EVENT + BYTES_BESIDE
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < needed:
        raise UnavailableError(
            f"{tempfile.gettempdir()} has {free // 2**30} GiB free, {needed // 2**30} are needed.",
            "Name a larger folder in TMPDIR, or measure less with BENCH_SCALE.",
        )


async def _costs(database: Database, batches: list[Batch]) -> dict[int, list[float]]:
    """Microseconds an event of each slice, by how many slices were stored when they began."""
    worker, superuser = await connect(database.worker_url), await connect(database.superuser_url)
    directory, costs = DirectoryCache(), dict[int, list[float]]()
    count = sum(batch.events for batch in batches)
    try:
        await store(worker, batches, directory)
        await superuser.execute(sql("preload"))
        stored, copies, tag = 1, 0, FIRST_TAG
        for mark in MARKS:
            for _ in range(mark - stored):
                copies += 1
                await superuser.execute(sql("preload_copy"), copies)
            await _settle(superuser)
            await check_stored(database, mark * count)
            sys.stderr.write(f"{mark * count:,} events are stored\n")
            costs[mark] = []
            for _ in range(RUNS):
                tag += 1
                fresh = [batch.again(tag) for batch in batches]
                costs[mark].append(await store(worker, fresh, directory) * 1e6 / count)
            stored = mark + RUNS
    finally:
        await worker.close()
        await superuser.close()
    return costs


async def _settle(superuser: "asyncpg.Connection[asyncpg.Record]") -> None:
    """What loading left to the background is done now, and not within a slice."""
    await superuser.execute("VACUUM (ANALYZE)")
    await superuser.execute("CHECKPOINT")


def _figure(form: str, size: int, costs: dict[int, list[float]]) -> Figure:
    marks = {mark: median(found) for mark, found in costs.items()}
    ratio = max(marks.values()) / min(marks.values())
    each = {
        f"µs an event at {mark * size:,} stored": [round(marks[mark], 2), *_rounded(found)]
        for mark, found in costs.items()
    }
    return Figure(
        name=f"cost of an event from {size:,} to {MARKS[-1] * size:,} stored, {form}",
        median=max(marks.values()),
        unit="µs",
        runs=RUNS,
        compared_against="its cheapest mark",
        ratio=ratio,
        reach=f"≤ {REACH}",
        met=ratio <= REACH,
        details={**each, "order": "median, then each slice"},
    )


def _rounded(found: list[float]) -> list[float]:
    return [round(one, 2) for one in found]
