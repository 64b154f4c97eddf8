"""The worker on a real broker: the same books as by HTTP, whatever kills it."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
from kafka import KafkaProducer

from ledger.domain.metering.record import Record
from ledger.flows.metering.commit import PositionLostError
from ledger.flows.metering.ingest import ingest
from ledger.flows.metering.position import start_partition
from ledger.settings import Settings
from ledger.store.metering.positions import Partition, PositionMove
from ledger.store.queries import Connection
from ledger.stream.consumer import run_worker
from tests.support.database import Database
from tests.support.kafka import create_topic
from tests.support.usage import (
    NOW,
    Gate,
    activity,
    attempt,
    fates,
    keyed,
    open_books,
    sequenced,
    windows,
    windows_of_facts,
)
from tests.support.waiting import PATIENCE_S

WORKER = """
import asyncio
from ledger.settings import Settings
from ledger.stream.consumer import run_worker
asyncio.run(run_worker(Settings(), asyncio.Event()))
"""


def produce(
    bootstrap: str, topic: str, records: list[Record], partition: int = 0, *, pause_s: float = 0
) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", compression_type="lz4")
    try:
        for record in records:
            headers = record.header.to_headers() if record.header else []
            producer.send(topic, record.body, headers=headers, partition=partition)
            time.sleep(pause_s)
        producer.flush(30)
    finally:
        producer.close()


def settings_for(database: Database, bootstrap: str, topic: str) -> Settings:
    return Settings(
        worker_url=database.worker_url,
        kafka_bootstrap=bootstrap,
        kafka_topic=topic,
        kafka_group=f"group-{topic}",
    )


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(run_worker(settings, stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, PATIENCE_S)


async def until_received(connection: Connection, events: int) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (await fates(connection)).get("received", 0) < events:
            await asyncio.sleep(0.05)


def batches(count: int) -> list[Record]:
    return [
        sequenced([attempt(tokens=n + 1, minute=n % 60) for _ in range(5)], sequence=n + 1)
        for n in range(count)
    ]


async def test_kafka_gives_the_same_books_as_http(
    worker: Connection,
    database: Database,
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
) -> None:
    await open_books(worker)
    topic = kafka_topic()
    sent = [*batches(3), keyed(attempt("a"), attempt("b", customer_id="who")), *batches(2)]
    produce(kafka_bootstrap, topic, sent)
    async with running(settings_for(database, kafka_bootstrap, topic)):
        await until_received(worker, 27)
    by_kafka = (await windows(worker), await activity(worker), await fates(worker))
    assert by_kafka[2] == {"received": 27, "counted": 16, "duplicate": 10, "suspense": 1}
    # The same by HTTP is all duplicates: equal by natural key and by content.
    found = [outcome for record in sent for outcome in await Gate(worker).outcomes(record)]
    assert set(found) == {"duplicate"}
    assert await windows(worker) == by_kafka[0] == await windows_of_facts(worker)
    position = await worker.fetchrow("SELECT * FROM kafka_position")
    assert position is not None
    assert position["next_offset"] == len(sent)


async def test_a_worker_killed_in_the_middle_loses_and_doubles_nothing(
    worker: Connection,
    database: Database,
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
) -> None:
    await open_books(worker)
    topic = kafka_topic()
    first, *rest = batches(240)
    produce(kafka_bootstrap, topic, [first])
    settings = settings_for(database, kafka_bootstrap, topic)
    environment = os.environ | {
        "TOKENLEDGER_WORKER_URL": database.worker_url,
        "TOKENLEDGER_KAFKA_BOOTSTRAP": kafka_bootstrap,
        "TOKENLEDGER_KAFKA_TOPIC": topic,
        "TOKENLEDGER_KAFKA_GROUP": settings.kafka_group,
    }
    process = subprocess.Popen([sys.executable, "-c", WORKER], env=environment)
    try:
        # It reads before the rest is sent, which takes longer than to see some of it stored.
        await until_received(worker, 1)
        sending = asyncio.create_task(
            asyncio.to_thread(produce, kafka_bootstrap, topic, rest, pause_s=0.02)
        )
        await until_received(worker, 6)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (await fates(worker))["received"] < 1200, "killed too late to prove anything"
    await sending
    # Another group: the dead member holds its partition for a session, and positions are ours.
    again = settings.model_copy(update={"kafka_group": f"again-{topic}"})
    async with running(again):
        await until_received(worker, 1200)
        await asyncio.sleep(1)
    assert await fates(worker) == {"received": 1200, "counted": 1200}
    assert await windows(worker) == await windows_of_facts(worker)
    assert sum(row[6] for row in await windows(worker)) == 5 * sum(range(1, 241))


async def test_workers_share_the_partitions_and_lose_nothing_when_they_change_hands(
    worker: Connection,
    database: Database,
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
) -> None:
    await open_books(worker)
    topic = kafka_topic(partitions=3)
    settings = settings_for(database, kafka_bootstrap, topic)
    for partition in range(3):
        sent = [
            sequenced([attempt(tokens=1)], sequence=n, producer=f"p{partition}")
            for n in range(1, 61)
        ]
        produce(kafka_bootstrap, topic, sent, partition)
    async with running(settings):
        await until_received(worker, 1)
        async with running(settings):
            await until_received(worker, 100)
        await until_received(worker, 180)
    assert await fates(worker) == {"received": 180, "counted": 180}
    offsets = await worker.fetch("SELECT next_offset FROM kafka_position")
    assert [row[0] for row in offsets] == [60] * 3


async def test_a_topic_that_is_not_there_yet_is_waited_for(
    worker: Connection, database: Database, kafka_bootstrap: str
) -> None:
    await open_books(worker)
    topic = f"later-{uuid.uuid4().hex}"
    async with running(settings_for(database, kafka_bootstrap, topic)):
        await asyncio.sleep(1)
        create_topic(kafka_bootstrap, topic, 1)
        produce(kafka_bootstrap, topic, batches(1))
        await until_received(worker, 5)
    assert await worker.fetchval("SELECT count(*) FROM kafka_position") == 1


async def test_a_worker_that_lost_its_partition_stores_nothing(worker: Connection) -> None:
    await open_books(worker)
    gate = Gate(worker)
    at = Partition("cluster", "topic", 0, "events")
    assert await start_partition(worker, at, log_start=0) == (0, 0)

    async def store(record: Record, expected: int) -> None:
        move = PositionMove(at, expected, expected + 1)
        await ingest(
            worker,
            [record],
            directory=gate.directory,
            now=NOW,
            limits=gate.limits,
            moves=[move],
        )

    await store(keyed(attempt("a")), 0)
    with contextlib.suppress(PositionLostError):
        await store(keyed(attempt("b")), 0)
        raise AssertionError("a fence that does not hold")
    assert await fates(worker) == {"received": 1, "counted": 1}
    assert await worker.fetchval("SELECT count(*) FROM event_key") == 1


async def test_a_log_that_starts_past_our_position_is_a_named_gap(worker: Connection) -> None:
    at = Partition("cluster", "topic", 3, "events")
    assert await start_partition(worker, at, log_start=7) == (7, 7)
    assert await start_partition(worker, at, log_start=7) == (7, 0)
    rows = await worker.fetch("SELECT partition, from_offset, to_offset FROM kafka_gap")
    assert [tuple(row) for row in rows] == [(3, 0, 7)]


async def test_a_bad_header_costs_its_record_only(
    worker: Connection,
    database: Database,
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
) -> None:
    await open_books(worker)
    topic = kafka_topic()
    producer = KafkaProducer(bootstrap_servers=kafka_bootstrap)
    producer.send(topic, b"{}", headers=[("tl-source", b"/hosts/a")])
    producer.send(topic, keyed(attempt("a")).body)
    producer.flush(30)
    producer.close()
    async with running(settings_for(database, kafka_bootstrap, topic)):
        await until_received(worker, 2)
    assert await fates(worker) == {"received": 2, "counted": 1, "quarantined": 1}
    assert await worker.fetchval("SELECT reason FROM quarantine") == "bad_header"


async def test_a_worker_outlives_its_database_connection(
    worker: Connection,
    database: Database,
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
) -> None:
    await open_books(worker)
    topic = kafka_topic()
    produce(kafka_bootstrap, topic, batches(1))
    async with running(settings_for(database, kafka_bootstrap, topic)):
        await until_received(worker, 5)
        admin = await asyncpg.connect(database.superuser_url)
        await admin.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND usename = 'tokenledger_worker'
                  AND pid NOT IN ($1, pg_backend_pid())""".replace(
                "$1", str(worker.get_server_pid())
            )
        )
        await admin.close()
        produce(kafka_bootstrap, topic, batches(3)[1:])
        await until_received(worker, 15)
    assert await fates(worker) == {"received": 15, "counted": 15}
