"""The ingest flow inside this process, without Kafka: the quick figure to work by."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence

from benchmarks import events
from benchmarks.events import FIRST_TAG, Batch
from benchmarks.harness import Figure, median
from benchmarks.scale import RUNS, scaled
from benchmarks.server import bench_server, yardstick
from ledger import clock
from ledger.domain.metering.fact import Fate
from ledger.domain.metering.record import Record
from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.ingest import ingest
from ledger.flows.metering.limits import IngestLimits
from ledger.store.connect import connect
from ledger.store.queries import Connection
from tests.support.database import Database

EVENTS = 56_000
CALL_RECORDS = 16
TARGETS: dict[str, tuple[Callable[[int], Iterator[Batch]], float]] = {
    "sequenced": (events.sequenced, 0.65),
    "keyed by ordered ids": (events.ordered, 0.338),
}


def run() -> list[Figure]:
    """Yardstick, sequenced NDJSON and keyed NDJSON, events a second."""
    with bench_server(events.customers()) as bench, bench.fresh() as database:
        return asyncio.run(_measure(database))


async def store(
    connection: Connection, batches: Sequence[Batch], directory: DirectoryCache
) -> float:
    """Seconds that it took to store these, a call for sixteen of them; all must count."""
    records = [Record(body=b.body, header=b.header, lane=b.lane) for b in batches]
    counted, began = 0, time.perf_counter()
    for at in range(0, len(records), CALL_RECORDS):
        found = await ingest(
            connection,
            records[at : at + CALL_RECORDS],
            directory=directory,
            now=clock.now(),
            limits=IngestLimits(),
        )
        counted += sum(one.counts.get(Fate.COUNTED, 0) for one in found)
    took = time.perf_counter() - began
    if counted != sum(batch.events for batch in batches):
        raise ValueError(f"{counted} events counted, not all that were sent.")
    return took


async def _measure(database: Database) -> list[Figure]:
    connection, directory = await connect(database.worker_url), DirectoryCache()
    rates: dict[str, list[float]] = {form: [] for form in TARGETS}
    copied: list[float] = []
    made = {form: list(make(scaled(EVENTS))) for form, (make, _) in TARGETS.items()}
    try:
        for number in range(RUNS + 1):
            for form, batches in made.items():
                fresh = [batch.again(FIRST_TAG + number) for batch in batches]
                took = await store(connection, fresh, directory)
                rates[form].append(sum(batch.events for batch in fresh) / took)
            copied.append(await yardstick(database))
    finally:
        await connection.close()
    # The first run of each warms caches and connections.
    base = median(copied[1:])
    found = [_figure(form, rates[form][1:], base) for form in TARGETS]
    return [*found, Figure("yardstick beside the flow alone", base, "rows/s", RUNS)]


def _figure(form: str, found: list[float], base: float) -> Figure:
    ratio, reach = median(found) / base, TARGETS[form][1]
    return Figure(
        name=f"flow alone, NDJSON, {form}",
        median=median(found),
        unit="events/s",
        runs=len(found),
        compared_against="yardstick",
        ratio=ratio,
        reach=f"≥ {reach} of the yardstick",
        met=ratio >= reach,
    )
