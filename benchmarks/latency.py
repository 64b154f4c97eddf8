"""How long after the broker's acknowledgement usage is visible to a query, at half the top rate."""

import asyncio
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import asyncpg

from benchmarks import events
from benchmarks.broker import Topic, fill, new_topic, producing, send, shared_broker
from benchmarks.events import Batch
from benchmarks.harness import Figure, median, say
from benchmarks.processes import running
from benchmarks.scale import RUNS, SCALE, scaled
from benchmarks.server import Bench, bench_server, sql
from benchmarks.stream import check_stored, measure_topic
from ledger.store.queries import OwnConnection
from tests.support.database import Database

CALIBRATION_EVENTS = 550_000
BATCH_EVENTS = 1_000
SECONDS = max(2, round(15 * min(SCALE, 1)))
MARKS_A_SECOND = 10
MARKS = SECONDS * MARKS_A_SECOND
# Sent and stored before the clock runs, so that the group and the caches stand.
WARM_BATCHES = 4
POLL_S = 0.005
WAIT_SECONDS_MAX = 60
REACH_S = 1.0
# Every batch has events of this customer; in a marked one they are another's, seen only there.
COMMON = b'"customer_id":"c-000"'


@dataclass(slots=True)
class Marks:
    """When the broker acknowledged each marked batch, and when its usage was first seen."""

    acknowledged: dict[str, float] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    seen: dict[str, float] = field(default_factory=dict)
    send_late_s: float = 0.0

    def latencies(self) -> list[float]:
        """Seconds, smallest first."""
        return sorted(max(self.seen[m] - at, 0.0) for m, at in self.acknowledged.items())


def run() -> list[Figure]:
    """The 99th and 50th percentile, each the median over the runs."""
    customers = [*events.customers(), *map(_mark, range(MARKS))]
    with bench_server(customers) as bench:
        bootstrap = shared_broker()
        topic = fill(bootstrap, events.sequenced(scaled(CALIBRATION_EVENTS)))
        top = measure_topic(bench, topic).span.rate
        batches = _batches(top / 2)
        runs = [_measure(bench, bootstrap, batches, top / 2) for _ in range(RUNS + 1)][1:]
    return _figures([marks.latencies() for marks in runs], runs, top)


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest of the sorted values that `percent` of them do not exceed."""
    return values[math.ceil(len(values) * percent / 100) - 1]


def _mark(number: int) -> str:
    return f"m-{number:05d}"


def _batches(rate: float) -> list[Batch]:
    count = WARM_BATCHES + max(MARKS, math.ceil(rate * SECONDS / BATCH_EVENTS))
    size = min(BATCH_EVENTS, max(100, round(rate * SECONDS / MARKS)))
    made = list(events.sequenced(count * size, record_events=size))
    every = (count - WARM_BATCHES) // MARKS
    for number in range(MARKS):
        at = WARM_BATCHES + number * every
        named = b'"customer_id":"%s"' % _mark(number).encode()
        made[at] = replace(made[at], body=made[at].body.replace(COMMON, named))
        assert named in made[at].body
    return made


def _measure(bench: Bench, bootstrap: str, batches: Sequence[Batch], rate: float) -> Marks:
    topic = Topic(bootstrap, new_topic(bootstrap), len(batches), sum(b.events for b in batches))
    with bench.fresh() as database:
        settings = {"worker_url": database.worker_url, **topic.settings()}
        with running(["worker", "--no-settle"], settings):
            marks = asyncio.run(_watch(database, topic, batches, rate))
        asyncio.run(check_stored(database, topic.events))
    say(f"p99 {percentile(marks.latencies(), 99):.3f} s at {rate:,.0f} events/s")
    return marks


async def _watch(database: Database, topic: Topic, batches: Sequence[Batch], rate: float) -> Marks:
    marks, warm = Marks(), threading.Event()
    sender = threading.Thread(target=_send, args=(topic, batches, rate, marks, warm), daemon=True)
    connection = await asyncpg.connect(database.superuser_url)
    try:
        sender.start()
        await _until(connection, WARM_BATCHES)
        warm.set()
        await _see(connection, marks)
        await _until(connection, len(batches))
    finally:
        await connection.close()
    await asyncio.to_thread(sender.join)
    return marks


async def _until(connection: OwnConnection, records: int) -> None:
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while await connection.fetchval(sql("progress")) < records:
            await asyncio.sleep(POLL_S)


async def _see(connection: OwnConnection, marks: Marks) -> None:
    query = await connection.prepare(sql("marks"))
    async with asyncio.timeout(SECONDS + WAIT_SECONDS_MAX):
        while len(marks.seen) < MARKS:
            waiting = [mark for mark in tuple(marks.sent) if mark not in marks.seen]
            if waiting:
                found = await query.fetch(waiting)
                now = time.perf_counter()
                marks.seen.update({row["customer_id"]: now for row in found})
            await asyncio.sleep(POLL_S)


def _send(
    topic: Topic, batches: Sequence[Batch], rate: float, marks: Marks, warm: threading.Event
) -> None:
    every = (len(batches) - WARM_BATCHES) // MARKS
    with producing(topic.bootstrap) as producer:
        for batch in batches[:WARM_BATCHES]:
            send(producer, topic.name, batch)
        warm.wait(WAIT_SECONDS_MAX)
        began = time.perf_counter()
        for number, batch in enumerate(batches[WARM_BATCHES:]):
            due = began + number * batch.events / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            marks.send_late_s = max(marks.send_late_s, time.perf_counter() - due)
            sent = send(producer, topic.name, batch)
            if number % every == 0 and number // every < MARKS:
                mark = _mark(number // every)
                marks.sent.append(mark)
                sent.add_callback(_acknowledge, marks, mark)
        producer.flush(WAIT_SECONDS_MAX)


def _acknowledge(marks: Marks, mark: str, _where: object) -> None:
    marks.acknowledged[mark] = time.perf_counter()


def _figures(found: Sequence[Sequence[float]], runs: Sequence[Marks], top: float) -> list[Figure]:
    most = median([percentile(one, 99) for one in found])
    middle = median([percentile(one, 50) for one in found])
    details = {
        "events/s sent": round(top / 2),
        "top rate, events/s": round(top),
        "marks a run": MARKS,
        "p99 of each run, s": [round(percentile(one, 99), 3) for one in found],
        "most of each run, s": [round(one[-1], 3) for one in found],
        "sender at most behind its plan, s": [round(one.send_late_s, 3) for one in runs],
    }
    return [
        Figure(
            name="append to queryable at half the top rate, p99",
            median=most,
            unit="s",
            runs=len(found),
            reach=f"< {REACH_S:.0f} s",
            met=most < REACH_S,
            details=details,
        ),
        Figure("append to queryable at half the top rate, p50", middle, "s", len(found)),
    ]
