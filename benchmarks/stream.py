"""From a topic to committed facts by one worker, beside a COPY of the rows it stored.

The worker has as many processes as it chooses: two where there are two processors.

The topic is filled first. Timing begins with the first commit seen past the warm-up part and ends
with the last: whole batches lie between the two, so that start-up and the empty pipeline are out.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import asyncpg

from benchmarks import events
from benchmarks.broker import CODEC, Topic, fill, shared_broker
from benchmarks.events import CUSTOMERS
from benchmarks.harness import Figure, median, say
from benchmarks.processes import MIB, Watch, java_seconds, running
from benchmarks.scale import RUNS, scaled
from benchmarks.server import Bench, bench_server, sql, yardstick
from ledger.store.connect import connect, sum_windows
from ledger.store.queries import OwnConnection
from tests.support.database import Database

# A batch has 20,000 to 72,000 events, and enough batches have to lie in the stretch that is timed.
EVENTS = 3_300_000
# Of records of one event batches on their way hold 20,000 and more, whose reading lies before the
# stretch: it has to be long beside them.
SINGLE_EVENTS = 330_000
WARM_PART = 11
POLL_S = 0.02
RUN_SECONDS_MAX = 240
MEMORY_MIB_MAX = 400


@dataclass(frozen=True, slots=True)
class Marks:
    """What a way of sending must reach: a rate, its part of the yardstick's, and what an event may
    cost PostgreSQL; None where there is no mark."""

    rate: float | None = None
    ratio: float | None = None
    postgres_us: float | None = None
    wal_bytes: float | None = None
    stored_bytes: float | None = None

    @property
    def reach(self) -> str:
        """What the rate must reach, in words; empty where nothing is asked."""
        of_ratio = f"≥ {self.ratio} of the yardstick" if self.ratio is not None else ""
        of_rate = f"≥ {self.rate:,.0f}/s" if self.rate is not None else ""
        return " and ".join(each for each in (of_ratio, of_rate) if each)

    def met(self, rate: float, ratio: float) -> bool | None:
        """Whether every mark there is of the rate is reached; None where there is none."""
        pairs = ((rate, self.rate), (ratio, self.ratio))
        asked = [found >= mark for found, mark in pairs if mark is not None]
        return all(asked) if asked else None


@dataclass(frozen=True, slots=True)
class Form:
    """How events are sent, and what its figures must reach."""

    name: str
    make: Callable[[int], Iterator[events.Batch]]
    marks: Marks = Marks()
    events: int = EVENTS
    customers: int = CUSTOMERS


MANY, VERY_MANY = 4_096, 100_000
SEQUENCED = Marks(450_000, 0.65, postgres_us=0.6, wal_bytes=60, stored_bytes=40)
COLUMNAR = Marks(900_000, 1.0, postgres_us=0.6, wal_bytes=60, stored_bytes=40)
FORMS = {
    "kafka-ndjson": Form("NDJSON, sequenced", events.sequenced, SEQUENCED),
    "kafka-columnar": Form("columnar, sequenced", events.columnar, COLUMNAR),
    "kafka-ordered": Form(
        "NDJSON, keyed by ordered ids", events.ordered, Marks(230_000, stored_bytes=130)
    ),
    "kafka-random": Form(
        "NDJSON, keyed by random ids", events.random_ids, Marks(170_000, stored_bytes=130)
    ),
    "kafka-single": Form("NDJSON, one event a record", events.single, Marks(38_600), SINGLE_EVENTS),
    **{
        f"kafka-{form}-{count}": Form(
            f"{name}, sequenced, {count:,} customers",
            partial(make, named=count),
            marks if count == MANY else Marks(),
            customers=count,
        )
        for count in (MANY, VERY_MANY)
        for form, name, make, marks in (
            ("ndjson", "NDJSON", events.sequenced, SEQUENCED),
            ("columnar", "columnar", events.columnar, COLUMNAR),
        )
    },
}


@dataclass(frozen=True, slots=True)
class Span:
    """The stretch measured: events committed in it, its ends, and CPU seconds spent on them, their
    sums included."""

    events: int
    first: float
    last: float
    worker_s: float
    postgres_s: float
    broker_s: float
    wal_bytes: int = 0
    stored_bytes: int = 0

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / (self.last - self.first)


@dataclass(frozen=True, slots=True)
class Run:
    """One run: what was measured, the worker's resident MiB in it, the yardstick after it.

    MiB are of the worker's largest process, `together` of all; both `peak` and `together` are the
    most since it started.
    """

    span: Span
    memory: Sequence[int]
    yardstick: float
    peak: int
    together: int

    def is_flat(self) -> bool:
        """Whether the second half's peak is within a tenth of the first half's."""
        half = len(self.memory) // 2
        return half == 0 or max(self.memory[half:]) <= max(self.memory[:half]) * 1.1


def benchmark(name: str) -> Callable[[], list[Figure]]:
    """The benchmark of one form."""
    return partial(_measure, FORMS[name])


def _measure(form: Form) -> list[Figure]:
    with bench_server(events.customers(form.customers)) as bench:
        topic = fill(shared_broker(), form.make(scaled(form.events)))
        # The first run warms the broker and the disk, and is thrown away.
        runs = [_run(bench, topic, number) for number in range(RUNS + 1)][1:]
    return [*_rates(form, runs, topic), *_costs(form, runs), _memory(form, runs)]


def _run(bench: Bench, topic: Topic, number: int) -> Run:
    run = measure_topic(bench, topic)
    ratio = run.span.rate / run.yardstick
    say(f"{number} of {RUNS}: {run.span.rate:,.0f} events/s, {ratio:.2f} of COPY, {run.peak} MiB")
    return run


def measure_topic(bench: Bench, topic: Topic, *options: str) -> Run:
    """One worker from start to the end of the topic, in a database of its own."""
    with bench.fresh() as database:
        settings = {"worker_url": database.worker_url, **topic.settings()}
        with running(["worker", "--no-settle", *options], settings) as process:
            watch = Watch(process, whole=True)
            try:
                span = asyncio.run(_span(bench, database, topic, watch))
            finally:
                watch.stop()
        memory = [rss // MIB for rss in watch.between(span.first, span.last)]
        peak = max(rss for _, rss in watch.samples) // MIB
        copied = asyncio.run(_compare(database, topic))
        return Run(span, memory, copied, peak, watch.together // MIB)


async def _span(bench: Bench, database: Database, topic: Topic, watch: Watch) -> Span:
    def spent() -> tuple[float, float, float]:
        return watch.cpu_seconds(), bench.cpu_seconds(), java_seconds()

    connection = await asyncpg.connect(database.superuser_url)
    try:
        async with asyncio.timeout(RUN_SECONDS_MAX):
            warm, first = await _reach(connection, watch, topic.records // WARM_PART)
            before, filled = spent(), await _written(connection)
            done, last = await _reach(connection, watch, topic.records)
        summing_s = await _sum_all(database.worker_url)
        after, full = spent(), await _written(connection)
    finally:
        await connection.close()
    if done == warm:
        raise ValueError("One commit held the whole topic: measure more events.")
    worker_s, postgres_s, broker_s = (round(b - a, 3) for a, b in zip(before, after, strict=True))
    wal, stored = (b - a for a, b in zip(filled, full, strict=True))
    counted = (done - warm) * topic.events // topic.records
    return Span(counted, first, last, worker_s + summing_s, postgres_s, broker_s, wal, stored)


async def _sum_all(worker_url: str) -> float:
    """Sum what the worker has not summed yet; the CPU seconds that this process spent on it."""
    began = time.process_time()
    connection = await connect(worker_url)
    try:
        while await sum_windows(connection):
            pass
    finally:
        await connection.close()
    return time.process_time() - began


async def _written(connection: OwnConnection) -> tuple[int, int]:
    """Bytes of WAL so far, and of everything that is stored."""
    row = await connection.fetchrow(sql("written"))
    assert row is not None
    return row["wal"], row["stored"]


async def _reach(connection: OwnConnection, watch: Watch, records: int) -> tuple[int, float]:
    progress = await connection.prepare(sql("progress"))
    while (done := int(await progress.fetchval())) < max(records, 1):
        if not watch.process.is_running():
            raise RuntimeError("The worker ended before the topic did.")
        await asyncio.sleep(POLL_S)
    return done, time.perf_counter()


async def _compare(database: Database, topic: Topic) -> float:
    await check_stored(database, topic.events)
    return await yardstick(database)


async def check_stored(database: Database, events_sent: int) -> None:
    """ValueError unless every event sent was received once and counted."""
    connection = await asyncpg.connect(database.superuser_url)
    try:
        row = await connection.fetchrow(sql("fates"))
    finally:
        await connection.close()
    assert row is not None
    if (row["received"], row["counted"]) != (events_sent, events_sent):
        raise ValueError(f"{events_sent} events were sent, and the ledger says {dict(row)}.")


def _rates(form: Form, runs: Sequence[Run], topic: Topic) -> list[Figure]:
    rate = median([run.span.rate for run in runs])
    base = median([run.yardstick for run in runs])
    found = Figure(
        name=f"Kafka to committed, {form.name}",
        median=rate,
        unit="events/s",
        runs=len(runs),
        compared_against="yardstick",
        ratio=rate / base,
        reach=form.marks.reach,
        met=form.marks.met(rate, rate / base),
        details=_details(runs, topic),
    )
    copied = Figure(f"yardstick beside {form.name}", base, "rows/s", len(runs))
    return [found, copied]


def _costs(form: Form, runs: Sequence[Run]) -> list[Figure]:
    """What an event costs PostgreSQL, sums included, where there is a mark for it."""
    marks, spans = form.marks, [run.span for run in runs]
    cpu = [span.postgres_s * 1e6 / span.events for span in spans]
    wal = [span.wal_bytes / span.events for span in spans]
    stored = [span.stored_bytes / span.events for span in spans]
    return [
        Figure(
            name=f"{what}, {form.name}",
            median=median(each),
            unit=f"{unit} an event",
            runs=len(runs),
            reach=f"≤ {mark:g}",
            met=median(each) <= mark,
        )
        for what, unit, mark, each in (
            ("PostgreSQL's CPU", "µs", marks.postgres_us, cpu),
            ("WAL", "bytes", marks.wal_bytes, wal),
            ("stored", "bytes", marks.stored_bytes, stored),
        )
        if mark is not None
    ]


def _details(runs: Sequence[Run], topic: Topic) -> dict[str, object]:
    def a_million(spent: Callable[[Span], float]) -> float:
        return round(median([spent(run.span) * 1e6 / run.span.events for run in runs]), 2)

    return {
        "worker CPU s per 1 M": a_million(lambda span: span.worker_s),
        "PostgreSQL CPU s per 1 M": a_million(lambda span: span.postgres_s),
        "broker CPU s per 1 M": a_million(lambda span: span.broker_s),
        "WAL bytes an event": a_million(lambda span: span.wal_bytes / 1e6),
        "stored bytes an event": a_million(lambda span: span.stored_bytes / 1e6),
        "events": topic.events,
        "events a record": topic.events // topic.records,
        "partitions": events.LANES,
        "producer's codec": CODEC,
        "rates": [round(run.span.rate) for run in runs],
        "yardsticks": [round(run.yardstick) for run in runs],
    }


def _memory(form: Form, runs: Sequence[Run]) -> Figure:
    peaks = [float(run.peak) for run in runs]
    return Figure(
        name=f"worker memory, {form.name}",
        median=median(peaks),
        unit="MiB",
        runs=len(runs),
        reach=f"< {MEMORY_MIB_MAX} MiB; the second half within 10 % of the first",
        met=max(peaks) < MEMORY_MIB_MAX and all(run.is_flat() for run in runs),
        details={
            "MiB when timing began, most, at the end": [
                [run.memory[0], run.peak, run.memory[-1]] for run in runs if run.memory
            ],
            "MiB of all processes together": [run.together for run in runs],
            "flat": [run.is_flat() for run in runs],
        },
    )
