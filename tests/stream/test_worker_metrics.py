"""What Prometheus is told by a worker that runs, on the port it was given."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from kafka import KafkaConsumer

from ledger.store.queries import Connection
from tests.api.test_metrics import read
from tests.stream.test_consumer import produce, running, settings_for, until_received
from tests.support.database import Database
from tests.support.ports import free_port
from tests.support.usage import attempt, keyed, open_books, sequenced
from tests.support.waiting import PATIENCE_S

Found = dict[str, dict[tuple[str, ...], float]]
ITEMS = "tokenledger_ingest_items"


@contextmanager
def worker_at(port: int, database: Database, bootstrap: str, topic: str) -> Iterator[None]:
    environment = os.environ | {
        "TOKENLEDGER_WORKER_URL": database.worker_url,
        "TOKENLEDGER_KAFKA_BOOTSTRAP": bootstrap,
        "TOKENLEDGER_KAFKA_TOPIC": topic,
        "TOKENLEDGER_KAFKA_GROUP": f"group-{topic}",
        "TOKENLEDGER_METRICS_PORT": str(port),
        "TOKENLEDGER_FROZEN_SECONDS": "1",
        "TOKENLEDGER_LOG_LEVEL": "WARNING",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "ledger.cli", "worker", "--no-settle", "--processes=1"],
        env=environment,
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)


def scrape(port: int) -> Found:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as answer:
        return read(answer.read().decode())


def scrape_until(port: int, holds: Callable[[Found], bool], what: str) -> Found:
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            found = scrape(port)
        except OSError:
            found = {}
        if found and holds(found):
            return found
        assert time.monotonic() < end, f"never: {what} in {found}"
        time.sleep(0.1)


def stored(found: Found) -> bool:
    """Whether all four records are counted, and none is left or on its way: each figure comes in
    its time."""
    counted = found["tokenledger_ingest_records"][("kafka",)] == 4
    at_rest = found["tokenledger_oldest_open_batch_seconds"][()] == 0
    return counted and at_rest and found["tokenledger_ingest_lag_records"] == {("0",): 0}


async def test_a_running_worker_shows_every_figure_with_its_number(
    worker: Connection,
    database: Database,
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
) -> None:
    await open_books(worker)
    topic, port = kafka_topic(), free_port()
    twice = sequenced([attempt(), attempt(customer_id="who")], sequence=4)
    other = sequenced([attempt(tokens=3)], sequence=4)
    bad = keyed(attempt("a"), attempt("a", tokens=7), attempt("b") | {"time": "never"})
    with worker_at(port, database, kafka_bootstrap, topic):
        empty = scrape_until(port, bool, "an answer")
        with pytest.raises(ConnectionRefusedError):
            # Every address of 127.0.0.0/8 is this host's; who listens on all would answer here.
            socket.create_connection(("127.0.0.2", port), 5)
        assert empty[ITEMS][("conflict", "kafka")] == 0, "zero before the first, not absent"
        produce(kafka_bootstrap, topic, [twice, twice, other, bad])
        await until_received(worker, 8)
        gaps = "tokenledger_missing_batches"
        found = scrape_until(port, lambda found: bool(found[gaps]) and stored(found), "the gap")
        more = [sequenced([attempt()], sequence=n) for n in (1, 2, 3)]
        produce(kafka_bootstrap, topic, more)
        closed = scrape_until(port, lambda found: not found[gaps], "the gap closed")
    fates = {labels[0]: number for labels, number in found[ITEMS].items() if number}
    wanted = {"counted": 2, "suspense": 1, "duplicate": 2, "conflict": 2, "quarantined": 1}
    assert {fate: n for fate, n in fates.items() if n < 1_000_000} == wanted
    assert found["tokenledger_ingest_batch_items"][("+Inf",)] >= 1
    assert found[gaps] == {("", "p1", "/hosts/a"): 3}
    assert found["tokenledger_ingest_lag_records"] == {("0",): 0}
    assert found["tokenledger_quarantined_items"][()] == 1
    assert time.time() - found["tokenledger_ingest_last_commit_timestamp_seconds"][()] < 60
    assert time.time() - found["tokenledger_measured_timestamp_seconds"][()] < 60
    assert found["tokenledger_oldest_unsummed_batch_seconds"][()] < 60
    assert "tokenledger_unsummed_batches" in found
    assert closed["tokenledger_source_items"][("counted", "/hosts/a")] == 4


async def test_the_consumer_is_asked_on_its_own_thread_and_about_its_own_partitions(
    worker: Connection,
    database: Database,
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, bool]] = []
    highwater = KafkaConsumer.highwater

    def watched(self: Any, at: Any) -> Any:
        asked.append((threading.current_thread().name, at in self.assignment()))
        return highwater(self, at)

    monkeypatch.setattr(KafkaConsumer, "highwater", watched)
    await open_books(worker)
    topic = kafka_topic(partitions=2)
    settings = settings_for(database, kafka_bootstrap, topic)
    for partition in (0, 1):
        sent = [sequenced([attempt()], sequence=n, producer=f"p{partition}") for n in range(1, 31)]
        produce(kafka_bootstrap, topic, sent, partition)
    async with running(settings):
        await until_received(worker, 1)
        # Half of what it reads goes to the other while it is on its way in.
        async with running(settings):
            await until_received(worker, 60)
    assert {name.partition("_")[0] for name, _ in asked} == {"kafka"}
    assert {mine for _, mine in asked} == {True}
