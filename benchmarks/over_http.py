"""Batches over HTTP by many connections into one API process, beside Kafka in the same run."""

import asyncio
import http.client
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

import psutil

from benchmarks import events
from benchmarks.broker import Topic, fill, shared_broker
from benchmarks.events import Batch
from benchmarks.harness import Figure, median, say
from benchmarks.processes import MIB, Watch, running
from benchmarks.scale import RUNS, scaled
from benchmarks.server import AUTHOR, Bench, bench_server, cpu_seconds
from benchmarks.stream import Run, check_stored, measure_topic
from ledger.flows.reference.keys import create_api_key
from ledger.store.connect import connect
from ledger.wire.batch import ENCODINGS
from ledger.wire.inputs import NewApiKey
from tests.support.database import Database

EVENTS = 500_000
BATCH_EVENTS = 1_000
# Gateways that send at once, each waiting for its answer.
CONNECTIONS = 64
# Batches of each connection that are sent before timing begins.
WARM_BATCHES = 2
REACH = 0.6
START_SECONDS_MAX = 30


@dataclass(frozen=True, slots=True)
class Sent:
    """What one run over HTTP took."""

    rate: float
    api_s: float
    postgres_s: float
    memory_mib: int
    pushed_back: int


def run() -> list[Figure]:
    """Events a second over HTTP, as a share of Kafka's."""
    with bench_server(events.customers()) as bench:
        batches = list(events.sequenced(scaled(EVENTS, 8_000), record_events=BATCH_EVENTS))
        topic = fill(shared_broker(), events.sequenced(scaled(EVENTS, 8_000)))
        # The first run of each warms broker and disk, and is thrown away.
        pairs = [_pair(bench, topic, batches) for _ in range(RUNS + 1)][1:]
    return _figures([sent for sent, _ in pairs], [kafka for _, kafka in pairs])


def _pair(bench: Bench, topic: Topic, batches: Sequence[Batch]) -> tuple[Sent, Run]:
    # An API stores in one process too.
    sent, kafka = measure_http(bench, batches), measure_topic(bench, topic, "--processes=1")
    say(f"{sent.rate:,.0f} events/s by HTTP, {kafka.span.rate:,.0f} by Kafka")
    return sent, kafka


def measure_http(bench: Bench, batches: Sequence[Batch]) -> Sent:
    """Send the batches on kept connections to an API with a database of its own."""
    lanes = [list(batches[n::CONNECTIONS]) for n in range(CONNECTIONS)]
    with bench.fresh() as database, served_api(database) as (url, key, process):
        watch = Watch(process)
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            sending = partial(_send, url, key)
            sum(pool.map(sending, [lane[:WARM_BATCHES] for lane in lanes]))
            rest = [lane[WARM_BATCHES:] for lane in lanes]
            before, began = (cpu_seconds(process), bench.cpu_seconds()), time.perf_counter()
            pushed_back = sum(pool.map(sending, rest))
            took = time.perf_counter() - began
            after = (cpu_seconds(process), bench.cpu_seconds())
        watch.stop()
        count = sum(batch.events for batch in batches)
        asyncio.run(check_stored(database, count))
    timed = sum(batch.events for lane in rest for batch in lane)
    api_s, postgres_s = [(b - a) * 1e6 / timed for a, b in zip(before, after, strict=True)]
    peak = max(rss for _, rss in watch.samples) // MIB
    return Sent(timed / took, api_s, postgres_s, peak, pushed_back)


@contextmanager
def served_api(database: Database) -> Iterator[tuple[str, str, psutil.Process]]:
    """An API process over it: its URL, the key of a sender, and the process."""
    key = asyncio.run(_key(database))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"worker_url": database.worker_url, "api_url": database.api_url, "port": str(port)}
    with running(["api"], settings) as process:
        _wait(port)
        yield f"http://127.0.0.1:{port}", key, process


async def _key(database: Database) -> str:
    connection = await connect(database.worker_url)
    try:
        new = NewApiKey(role="ingest", sources=("gw/sequenced", "gw/mixed"))
        return (await create_api_key(connection, new, AUTHOR)).text
    finally:
        await connection.close()


def _wait(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def _send(url: str, key: str, batches: Sequence[Batch]) -> int:
    """Send in order; returns how often the API answered 429 and the batch was sent again."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    pushed_back = 0
    for batch in batches:
        while (wait := _post(connection, key, batch)) is not None:
            pushed_back += 1
            time.sleep(wait)
    connection.close()
    return pushed_back


def _post(connection: http.client.HTTPConnection, key: str, batch: Batch) -> int | None:
    """One batch; seconds to wait where the API pushed back."""
    assert batch.header is not None
    headers = {
        **batch.header.to_fields(),
        "Authorization": f"Bearer {key}",
        "Content-Type": ENCODINGS[batch.header.encoding],
    }
    connection.request("POST", "/v1/events", body=batch.body, headers=headers)
    reply = connection.getresponse()
    said = reply.read()
    if reply.status == http.client.TOO_MANY_REQUESTS:
        return int(reply.getheader("Retry-After", "1"))
    if reply.status != http.client.OK:
        raise RuntimeError(f"The API answered {reply.status}: {said[:300]!r}")
    return None


def _figures(sent: Sequence[Sent], kafka: Sequence[Run]) -> list[Figure]:
    rate, base = (median([one.rate for one in runs]) for runs in (sent, [k.span for k in kafka]))
    name = "Kafka beside HTTP, NDJSON, sequenced, by one process"
    beside = Figure(name, base, "events/s", len(kafka))
    details = {
        "API CPU s per 1 M": round(median([one.api_s for one in sent]), 2),
        "PostgreSQL CPU s per 1 M": round(median([one.postgres_s for one in sent]), 2),
        "API's most memory, MiB": [one.memory_mib for one in sent],
        "answers of 429": [one.pushed_back for one in sent],
        "connections": CONNECTIONS,
        "rates": [round(one.rate) for one in sent],
        "Kafka's rates": [round(one.span.rate) for one in kafka],
    }
    return [
        Figure(
            name=f"HTTP batches of {BATCH_EVENTS:,} to committed",
            median=rate,
            unit="events/s",
            runs=len(sent),
            compared_against="Kafka NDJSON, sequenced, by one process",
            ratio=rate / base,
            reach=f"≥ {REACH} of Kafka NDJSON",
            met=rate / base >= REACH,
            details=details,
        ),
        beside,
    ]
