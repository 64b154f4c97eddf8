"""Whether an event costs as much at 50 million stored as at one: five slices timed at each mark.

The first slice is stored by ingest and is the first mark. What it wrote is then repeated on the
server until the next mark stands, with all indexes, and slices are timed again. Before each mark
memory and WAL are brought into one state, so that only what is stored differs.
"""

import asyncio
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from benchmarks import events
from benchmarks.events import FIRST_TAG, Batch
from benchmarks.harness import Figure, median, say
from benchmarks.ingest import store
from benchmarks.scale import RUNS, scaled
from benchmarks.server import Bench, bench_server, sql
from benchmarks.steady import PageCache, page_cache, settle
from benchmarks.stream import check_stored
from ledger.domain.errors import UnavailableError
from ledger.flows.metering.directory import DirectoryCache
from ledger.store.connect import connect
from ledger.store.queries import Connection
from tests.support.database import Database

SLICE = 1_000_000
# Stored events at which slices are timed, in slices.
MARKS = (1, 10, 50)
REACH = 1.15
# A fact, its key, indexes and what was kept aside, with room for WAL.
BYTES_AN_EVENT = 450
BYTES_BESIDE = 10 * 2**30
# Connections that load at once.
LOADERS = 2
FORMS: dict[str, Callable[[int], Iterator[Batch]]] = {
    "sequenced": events.sequenced,
    "ordered": events.ordered,
}


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds an event: until it is stored, and of CPU in this process and PostgreSQL."""

    wall_us: float
    cpu_us: float


def benchmark(form: str) -> Callable[[], list[Figure]]:
    """The benchmark of one form."""
    return partial(_measure, form)


def _measure(form: str) -> list[Figure]:
    size = scaled(SLICE, events.RECORD_EVENTS)
    _require_room((MARKS[-1] + RUNS) * size)
    with (
        bench_server(events.customers()) as bench,
        bench.fresh() as database,
        page_cache() as cache,
    ):
        costs = asyncio.run(_costs(bench, database, cache, list(FORMS[form](size))))
    return [_figure(form, size, costs)]


def _require_room(stored: int) -> None:
    needed = stored * BYTES_AN_EVENT + BYTES_BESIDE
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < needed:
        raise UnavailableError(
            f"{tempfile.gettempdir()} has {free // 2**30} GiB free, {needed // 2**30} are needed.",
            "Name a larger folder in TMPDIR, or measure less with BENCH_SCALE.",
        )


async def _costs(
    bench: Bench, database: Database, cache: PageCache, batches: list[Batch]
) -> dict[int, list[Cost]]:
    """What an event of each slice cost, by how many slices were stored when they began."""
    worker, superuser = await connect(database.worker_url), await connect(database.superuser_url)
    directory, costs = DirectoryCache(), dict[int, list[Cost]]()
    count = sum(batch.events for batch in batches)
    try:
        await store(worker, batches, directory)
        await superuser.execute(sql("preload"))
        stored, copies, tag = 1, 0, FIRST_TAG
        for mark in MARKS:
            await load_copies(database, range(copies + 1, copies + 1 + mark - stored))
            copies += mark - stored
            await settle(superuser, cache)
            await check_stored(database, mark * count)
            say(f"{mark * count:,} events are stored")
            costs[mark] = []
            for _ in range(RUNS):
                tag += 1
                fresh = [batch.again(tag) for batch in batches]
                costs[mark].append(await _slice(bench, worker, fresh, directory))
            stored = mark + RUNS
    finally:
        await worker.close()
        await superuser.close()
    return costs


async def _slice(
    bench: Bench, worker: Connection, batches: list[Batch], directory: DirectoryCache
) -> Cost:
    count = sum(batch.events for batch in batches)
    spent = time.process_time() + bench.cpu_seconds()
    took = await store(worker, batches, directory)
    cpu_s = time.process_time() + bench.cpu_seconds() - spent
    found = Cost(took * 1e6 / count, cpu_s * 1e6 / count)
    say(f"{found.wall_us:.2f} µs an event, {found.cpu_us:.2f} of CPU")
    return found


async def load_copies(database: Database, copies: range) -> None:
    """Store copies of the first slice, two at a time."""
    waiting = deque(copies)
    lead = await connect(database.superuser_url)
    try:
        first = await lead.fetchval(sql("preload_room"), len(copies))
    finally:
        await lead.close()

    async def load() -> None:
        connection = await connect(database.superuser_url)
        try:
            while waiting:
                copy = waiting.popleft()
                await connection.execute(sql("preload_copy"), copy, first, copy - copies.start)
                say(f"copy {copy}")
        finally:
            await connection.close()

    await asyncio.gather(*(load() for _ in range(LOADERS)))


def _figure(form: str, size: int, costs: dict[int, list[Cost]]) -> Figure:
    marks = {mark: median([one.wall_us for one in found]) for mark, found in costs.items()}
    ratio = max(marks.values()) / min(marks.values())
    details: dict[str, object] = {}
    for mark, found in costs.items():
        where = f"at {mark * size:,} stored"
        details[f"µs an event {where}"] = _rounded([one.wall_us for one in found])
        details[f"µs of CPU an event {where}"] = _rounded([one.cpu_us for one in found])
    return Figure(
        name=f"cost of an event from {size:,} to {MARKS[-1] * size:,} stored, {form}",
        median=max(marks.values()),
        unit="µs",
        runs=RUNS,
        compared_against="its cheapest mark",
        ratio=ratio,
        reach=f"≤ {REACH}",
        met=ratio <= REACH,
        details={**details, "order": "median, then each slice"},
    )


def _rounded(found: list[float]) -> list[float]:
    return [round(one, 2) for one in (median(found), *found)]
