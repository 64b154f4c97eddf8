"""A worker of several processes: what each of them stores, and what goes on when one ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest

from ledger.commands.serve.worker_processes import (
    PROCESSES_MAX,
    process_count,
    whole_processors,
)
from ledger.settings import Settings
from ledger.store.queries import Connection
from tests.stream.test_consumer import produce, until_received
from tests.stream.test_worker_metrics import scrape_until
from tests.support.database import Database
from tests.support.ports import free_pair
from tests.support.usage import attempt, fates, open_books, sequenced
from tests.support.waiting import PATIENCE_S, until

RECORDS = "tokenledger_ingest_records"
BY_AFFINITY = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from ledger.commands.serve.worker_processes import process_count
from ledger.settings import Settings
sys.exit(process_count(Settings()) != 1)
"""


@contextmanager
def worker_of_two(
    database: Database, bootstrap: str, topic: str, port: int
) -> Iterator[psutil.Process]:
    environment = os.environ | {
        "TOKENLEDGER_WORKER_URL": database.worker_url,
        "TOKENLEDGER_KAFKA_BOOTSTRAP": bootstrap,
        "TOKENLEDGER_KAFKA_TOPIC": topic,
        "TOKENLEDGER_KAFKA_GROUP": f"group-{topic}",
        "TOKENLEDGER_KAFKA_SESSION_TIMEOUT_MS": "3000",
        "TOKENLEDGER_WORKER_PROCESSES": "2",
        "TOKENLEDGER_METRICS_PORT": str(port),
        "TOKENLEDGER_LOG_LEVEL": "WARNING",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "ledger.cli", "worker", "--no-settle"], env=environment
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)


def second_of(process: psutil.Process) -> list[psutil.Process]:
    """The process that stores beside the first; multiprocessing has another that stores nothing."""
    return [each for each in process.children() if "spawn_main" in " ".join(each.cmdline())]


def send_to_both(bootstrap: str, topic: str, sequences: range) -> None:
    for partition in (0, 1):
        sent = [sequenced([attempt()], sequence=n, producer=f"p{partition}") for n in sequences]
        produce(bootstrap, topic, sent, partition)


async def test_each_process_stores_its_partitions_and_a_killed_one_is_started_again(
    worker: Connection,
    database: Database,
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
) -> None:
    await open_books(worker)
    topic, port = kafka_topic(partitions=2), free_pair()
    with worker_of_two(database, kafka_bootstrap, topic, port) as first:
        # Both have joined once both have a partition, however late the second came.
        for each in (port, port + 1):
            scrape_until(each, lambda found: RECORDS in found, "an answer")
        sent = 0

        async def both_stored() -> bool:
            nonlocal sent
            send_to_both(kafka_bootstrap, topic, range(sent + 1, sent + 2))
            sent += 1
            await until_received(worker, 2 * sent)
            found = [scrape_until(each, bool, "an answer")[RECORDS] for each in (port, port + 1)]
            return all(each[("kafka",)] > 0 for each in found)

        await until(both_stored, "each process has stored something")
        (second,) = second_of(first)
        second.kill()
        send_to_both(kafka_bootstrap, topic, range(sent + 1, sent + 11))
        await until_received(worker, 2 * sent + 20)

        async def another() -> bool:
            return [each.pid for each in second_of(first)] not in ([], [second.pid])

        await until(another, "another second process")
        (second,) = second_of(first)
    assert not second.is_running()
    assert await fates(worker) == {"received": 2 * sent + 20, "counted": 2 * sent + 20}


async def test_the_second_process_goes_with_the_first_however_that_ends(
    worker: Connection,
    database: Database,
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
) -> None:
    await open_books(worker)
    port = free_pair()
    with worker_of_two(database, kafka_bootstrap, kafka_topic(), port) as first:
        scrape_until(port + 1, bool, "an answer")
        (second,) = second_of(first)
        first.kill()

        async def gone() -> bool:
            return not second.is_running() or second.status() == psutil.STATUS_ZOMBIE

        await until(gone, "the second process ends")


def test_as_many_processes_as_are_asked_for_or_as_there_are_processors() -> None:
    assert process_count(Settings(worker_processes=7)) == 7
    assert 1 <= process_count(Settings()) <= PROCESSES_MAX
    subprocess.run([sys.executable, "-c", BY_AFFINITY], check=True)


@pytest.mark.parametrize(
    ("quota", "processors"),
    [
        ("max 100000\n", PROCESSES_MAX),
        ("50000 100000\n", 1),
        ("250000 100000\n", 2),
        ("800000 100000\n", 8),
        ("", PROCESSES_MAX),
        ("1 0", PROCESSES_MAX),
    ],
)
def test_a_container_that_may_have_less_gets_no_more(quota: str, processors: int) -> None:
    assert whole_processors(quota) == processors


@pytest.mark.parametrize("count", ["0", "65", "two"])
def test_a_count_that_is_none_is_refused(count: str) -> None:
    run = [sys.executable, "-m", "ledger.cli", "worker", "--processes", count]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--processes" in done.stderr
