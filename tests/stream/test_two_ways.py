"""Collector and gateway over Kafka, or over HTTP: the same books, to the last posting."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from kafka import KafkaConsumer, TopicPartition

from collectors.daemon import run_agent
from collectors.settings import CollectSettings, HttpSettings, KafkaSettings
from collectors.to_http import HttpPublisher
from collectors.to_kafka import KafkaPublisher
from ledger import clock
from ledger.api.app import create_app
from ledger.demo import own_fleet
from ledger.demo.deliver import usage_batches, write_recording
from ledger.demo.entries import entries
from ledger.domain.author import Author
from ledger.domain.period import WINDOW, Period
from ledger.embedded.postgres import EmbeddedServer
from ledger.flows.cost.recall import recall_lines
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.reference.keys import create_api_key
from ledger.flows.reference.resources import enter_of
from ledger.flows.settle import settle
from ledger.settings import Settings
from ledger.store.connect import connect
from ledger.store.queries import Connection
from ledger.stream.consumer import run_worker
from ledger.wire.batch import Batch
from ledger.wire.inputs import NewApiKey, read_input
from tests.support.database import Database, fresh_database
from tests.support.waiting import PATIENCE_S, until

AUTHOR = Author("cli:test", "for a test", "req-1")
SEED = 7
HOURS = 3

# Every derived row by its natural key, without surrogate ids, cut-offs or stored numbers.
BOOKS = {
    "facts": """SELECT k.customer_ref, k.agent_id, k.tier, k.model, f.time, f.started_at, f.kind,
                       f.requests, f.uncached, f.cache_read, f.visible, f.reasoning, s.source
                  FROM usage_fact f
                  JOIN usage_key k USING (usage_key_id)
                  JOIN source s USING (source_id)""",
    "readings": "SELECT gpu_uuid, epoch, sampled_at, energy_mj, quality FROM gpu_reading",
    "windows": """SELECT customer_id, usage_key_id, window_start, sum(requests), sum(uncached),
                         sum(cache_read), sum(visible) FROM usage_delta GROUP BY 1, 2, 3""",
    "masks": """SELECT engine_key_id, window_start, bit_or(mask)::text
                  FROM activity_mask GROUP BY 1, 2""",
    "costs": """SELECT scope, window_start, line, usage_key_id, device_metered_mj,
                       device_estimated_mj, host_mj, overhead_mj,
                       device_cost, overhead_cost, gpu_cost FROM cost_lines_at(as_it_stands())""",
    "charges": """SELECT customer_id, day_start, usage_key_id, meter, price_id, sum(quantity),
                         sum(amount), currency FROM charge GROUP BY 1, 2, 3, 4, 5, 8""",
    "postings": """SELECT regexp_replace(e.natural_key, ':[0-9]+$', ''), p.account, p.currency,
                          p.customer_id, p.dimension, sum(p.amount)
                     FROM journal_entry e JOIN posting p USING (entry_id) GROUP BY 1, 2, 3, 4, 5""",
}


async def books(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
    spans = await connection.fetch(
        "SELECT entity_id, min(window_start), max(window_start) FROM cost_allocation GROUP BY 1"
    )
    for entity_id, first, last in spans:
        await recall_lines(connection, entity_id, [Period(first, last + WINDOW)])
    return {
        name: sorted((tuple(row) for row in await connection.fetch(query)), key=repr)
        for name, query in BOOKS.items()
    }


async def open_factory(connection: Connection) -> None:
    await prepare_storage(connection, now=clock.now())
    for model, body in entries():
        await enter_of(model)(connection, read_input(model, body), AUTHOR)


def sent() -> tuple[list[Batch], list[own_fleet.PlannedAttempt]]:
    """Three hours of attempts, one batch twice and one out of order."""
    end_ms = HOURS * 3_600_000
    made = [one for one in own_fleet.attempts(SEED) if one.end_ms < end_ms]
    batches = usage_batches([*own_fleet.usage_events(made), own_fleet.unknown_customer_event()])
    return [*batches[::-1], batches[0]], made


def collect(folder: Path, made: list[own_fleet.PlannedAttempt], **destination: Any) -> None:
    until = own_fleet.START + timedelta(hours=HOURS)
    readings = (r for r in own_fleet.energy_readings(made, SEED) if r[1] <= until)
    folder.mkdir()
    write_recording(readings, folder / "recording.csv.gz")
    settings = CollectSettings(
        source=own_fleet.ENERGY_SOURCE,
        producer="gpu-host-1",
        spool_dir=folder / "spool",
        nvml="off",
        replay_file=folder / "recording.csv.gz",
        replay_speed=Decimal(0),
        exit_when_done=True,
        drain_s=Decimal(60),
        **destination,
    )
    assert run_agent(settings, stop=threading.Event()) == 0


async def by_kafka(
    database: Database, bootstrap: str, topic: str, folder: Path
) -> dict[str, list[tuple[object, ...]]]:
    connection = await connect(database.worker_url)
    try:
        await open_factory(connection)
        kafka = KafkaSettings(bootstrap=[bootstrap], topic=topic)
        batches, made = sent()
        await asyncio.to_thread(publish, KafkaPublisher(kafka), batches)
        await asyncio.to_thread(collect, folder, made, kafka=kafka)
        settings = Settings(
            worker_url=database.worker_url,
            kafka_bootstrap=bootstrap,
            kafka_topic=topic,
            kafka_group=f"group-{topic}",
        )
        stop = asyncio.Event()
        task = asyncio.create_task(run_worker(settings, stop))
        last = await asyncio.to_thread(end_of, bootstrap, topic)
        await until(lambda: connection.fetchval(STORED, last), "all that was sent is stored")
        stop.set()
        await asyncio.wait_for(task, PATIENCE_S)
        await settle(connection, now=clock.now())
        return await books(connection)
    finally:
        await connection.close()


async def by_http(database: Database, folder: Path) -> dict[str, list[tuple[object, ...]]]:
    connection = await connect(database.worker_url)
    try:
        await open_factory(connection)
        sources = (own_fleet.SOURCE, own_fleet.ENERGY_SOURCE)
        key = await create_api_key(connection, NewApiKey(role="ingest", sources=sources), AUTHOR)
        batches, made = sent()
        async with served(database) as url:
            http = HttpSettings(url=url, api_key=key.text)
            await asyncio.to_thread(publish, HttpPublisher(http), batches)
            await asyncio.to_thread(collect, folder, made, http=http)
        await settle(connection, now=clock.now())
        return await books(connection)
    finally:
        await connection.close()


def publish(publisher: KafkaPublisher | HttpPublisher, batches: Sequence[Batch]) -> None:
    try:
        publisher.publish(batches, lambda refusal: pytest.fail(str(refusal)))
    finally:
        publisher.close()


STORED = "SELECT next_offset = $1 FROM kafka_position"


def end_of(bootstrap: str, topic: str) -> int:
    """The offset after the last record of a topic of one partition."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    try:
        (end,) = consumer.end_offsets([TopicPartition(topic, 0)]).values()
    finally:
        consumer.close()
    return int(end)


@asynccontextmanager
async def served(database: Database) -> AsyncIterator[str]:
    app = create_app(Settings(worker_url=database.worker_url, api_url=database.api_url))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        await asyncio.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await asyncio.to_thread(thread.join)


@pytest.mark.slow
async def test_collector_and_gateway_leave_the_same_books_either_way(
    server: EmbeddedServer,
    template: str,
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
    tmp_path: Path,
) -> None:
    with fresh_database(server, template) as one, fresh_database(server, template) as other:
        streamed = await by_kafka(one, kafka_bootstrap, kafka_topic(), tmp_path / "kafka")
        posted = await by_http(other, tmp_path / "http")
    for name in BOOKS:
        assert streamed[name], f"there are no {name} to compare"
        assert streamed[name] == posted[name], name
