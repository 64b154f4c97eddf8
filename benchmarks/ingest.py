"""Ingest into an embedded PostgreSQL with fsync on, beside a binary COPY of the same rows."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp

from benchmarks.harness import Figure, median
from ledger import clock
from ledger.domain.ingest.record import Record
from ledger.flows.directory import DirectoryCache
from ledger.flows.ingest import IngestLimits, ingest, prepare_storage
from ledger.store.connect import connect
from ledger.store.migrate import migrate
from ledger.store.postgres import embedded_server
from ledger.store.queries import Connection
from ledger.store.roles import OWNER, SUPERUSER, WORKER, bootstrap_roles
from ledger.wire.batch import BatchHeader

RUNS = 5
EVENTS = 20_000
RECORD_EVENTS = 1_000
START = datetime(2026, 8, 6, tzinfo=UTC)
SOURCE = "bench/gateway"


def run() -> list[Figure]:
    """Yardstick, sequenced NDJSON and keyed NDJSON, events a second."""
    with _database() as (worker_url, superuser_url):
        return asyncio.run(_measure(worker_url, superuser_url))


@contextmanager
def _database() -> Iterator[tuple[str, str]]:
    with embedded_server(Path(mkdtemp(prefix="tokenledger-bench-"))) as server:
        asyncio.run(bootstrap_roles(server.url(database="postgres")))
        migrate(server.url(OWNER))
        yield server.url(WORKER), server.url(SUPERUSER)


async def _measure(worker_url: str, superuser_url: str) -> list[Figure]:
    worker, superuser = await connect(worker_url), await connect(superuser_url)
    try:
        await prepare_storage(worker, now=clock.now())
        rates: dict[str, list[float]] = {}
        for run_no in range(RUNS + 1):
            for form in ("sequenced", "keyed"):
                rate = await _ingest(worker, form, run_no)
                rates.setdefault(form, []).append(rate)
        yardstick = [await _yardstick(superuser) for _ in range(RUNS)]
    finally:
        await worker.close()
        await superuser.close()
    base = median(yardstick)
    # The first run of each warms caches and connections.
    return [
        Figure("yardstick: binary COPY of usage_fact rows", base, "rows/s", RUNS),
        _figure("ingest NDJSON, sequenced", rates["sequenced"][1:], base, 0.35),
        _figure("ingest NDJSON, keyed by ordered ids", rates["keyed"][1:], base, 0.20),
    ]


def _figure(name: str, found: list[float], base: float, reach: float) -> Figure:
    ratio = median(found) / base
    return Figure(
        name=name,
        median=median(found),
        unit="events/s",
        runs=len(found),
        compared_against="yardstick",
        ratio=ratio,
        reach=f"≥ {reach} of the yardstick",
        met=ratio >= reach,
    )


async def _ingest(connection: Connection, form: str, run_no: int) -> float:
    records = [_record(form, run_no, number) for number in range(EVENTS // RECORD_EVENTS)]
    cache = DirectoryCache()
    began = time.perf_counter()
    outcomes = await ingest(
        connection, records, directory=cache, now=clock.now(), limits=IngestLimits()
    )
    took = time.perf_counter() - began
    assert sum(outcome.received for outcome in outcomes) == EVENTS
    return EVENTS / took


def _record(form: str, run_no: int, number: int) -> Record:
    first = number * RECORD_EVENTS
    source = f"{SOURCE}/{form}"
    lines = [
        _line(source, f"{run_no:04d}-{first + n:09d}", first + n) for n in range(RECORD_EVENTS)
    ]
    header = None
    if form == "sequenced":
        header = BatchHeader(source, "bench", run_no + 1, number + 1, RECORD_EVENTS)
        place = f"{run_no + 1}.{number + 1}."
        lines = [_line(source, f"{place}{n}", first + n) for n in range(RECORD_EVENTS)]
    return Record(body=b"\n".join(lines), header=header)


def _line(source: str, event_id: str, number: int) -> bytes:
    ended = START + timedelta(milliseconds=number * 40)
    started = ended - timedelta(seconds=3)
    event = {
        "specversion": "1.0",
        "id": event_id,
        "source": source,
        "type": "inference.usage.v1",
        "time": ended.isoformat(),
        "data": {
            "customer_id": f"customer-{number % 40}",
            "served_model": f"model-{number % 3}",
            "service_tier_served": ("standard", "batch")[number % 2],
            "started_at": started.isoformat(),
            "first_token_at": (started + timedelta(milliseconds=300)).isoformat(),
            "ended_at": ended.isoformat(),
            "usage": {
                "input": {"uncached": 900 + number % 700, "cache_read": 128, "cache_write": 0},
                "output": {"visible": 200 + number % 90, "reasoning": 0},
            },
            "engine": {"instance": f"vllm-{number % 4}"},
        },
    }
    return json.dumps(event, separators=(",", ":")).encode()


async def _yardstick(connection: Connection) -> float:
    """Binary COPY, pre-encoded, into a partitioned logged table without indexes."""
    await connection.execute((Path(__file__).parent / "yardstick.sql").read_text())
    path = Path(mkdtemp(prefix="tokenledger-bench-")) / "rows.bin"
    today = clock.now().strftime("%Y%m%d")
    copied = await connection.copy_from_table(f"usage_fact_{today}", output=path, format="binary")
    rows = int(copied.split()[1])
    began = time.perf_counter()
    await connection.copy_to_table("yardstick", source=path, format="binary")
    return float(rows / (time.perf_counter() - began))
