"""Workers held up: frozen inside a COPY, or beside a change of tables that waits for them."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest

from ledger import clock
from ledger.domain.metering.record import Record
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.watch import end_frozen
from ledger.store.connect import SESSION, WRITING, connect, draw_cut_off
from ledger.store.queries import Connection
from ledger.stream import consumer
from tests.stream.test_consumer import produce, running, settings_for, until_received
from tests.support.database import Database
from tests.support.usage import (
    Gate,
    attempt,
    fates,
    keyed,
    open_books,
    sequenced,
    windows,
    windows_of_facts,
)
from tests.support.waiting import until
from tests.torture.gates import gate_at, waits_for_client
from tests.torture.workers import named

WORKER = "held-up"
IN_COPY = "frozen inside its COPY"


def environment_of(database: Database, bootstrap: str, topic: str) -> dict[str, str]:
    return os.environ | {
        "TOKENLEDGER_WORKER_URL": named(database.worker_url, WORKER),
        "TOKENLEDGER_KAFKA_BOOTSTRAP": bootstrap,
        "TOKENLEDGER_KAFKA_TOPIC": topic,
        "TOKENLEDGER_KAFKA_GROUP": f"group-{topic}",
    }


@contextmanager
def worker_process(
    environment: Mapping[str, str], *options: str
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "ledger.cli", "worker", "--no-settle", "--processes=1", *options],
        env=environment,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def seen(worker: Connection) -> int:
    """Facts that a new cut-off sees."""
    cut_off = await draw_cut_off(worker, "test")
    return int(
        await worker.fetchval(
            "SELECT count(*) FROM usage_fact WHERE batch_seq <= $1", cut_off.batch_seq
        )
    )


async def test_a_worker_frozen_inside_a_copy_is_ended_and_stores_its_batch_once_when_it_wakes(
    worker: Connection,
    database: Database,
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
) -> None:
    await open_books(worker)
    await prepare_storage(worker, now=clock.now())
    topic = kafka_topic()
    events = [attempt(tokens=n) for n in range(1, 2_001)]
    sent = [sequenced(events, sequence=n) for n in range(1, 6)]
    # More than a socket holds: what is sent before the table is open may be all of a small batch.
    produce(kafka_bootstrap, topic, sent)
    # As columns all of it would be sent at once, and nothing be left to wait for.
    rows = environment_of(database, kafka_bootstrap, topic) | {"TOKENLEDGER_COLUMNS_FROM": "20000"}
    with worker_process(rows) as process:
        async with gate_at(database.superuser_url, "usage_fact") as gate:
            held = await gate.meet(WORKER, "COPY", patience_s=60)
            assert held is not None
            process.send_signal(signal.SIGSTOP)
        assert await waits_for_client(worker, held), IN_COPY
        await _others_go_on(database)
        assert await seen(worker) == 0, "it holds back what came after it"
        (ended,) = await end_frozen(worker, quiet_s=0)
        assert (ended.pid, ended.application) == (held.pid, WORKER)

        async def freed() -> bool:
            return await seen(worker) == 1

        await until(freed, "the cut-off moves on")
        process.send_signal(signal.SIGCONT)
        await until_received(worker, 10_001)
    assert await fates(worker) == {"received": 10_001, "counted": 10_001}
    assert await windows(worker) == await windows_of_facts(worker)
    assert await worker.fetchval("SELECT next_offset FROM kafka_position") == len(sent)
    assert await seen(worker) == 10_001


async def _others_go_on(database: Database) -> None:
    other = await connect(database.worker_url)
    await Gate(other).send(keyed(attempt("other")))
    await other.close()


READING = {"gpu_uuid": "GPU-1", "epoch": "boot-1", "energy_mj": 5}
HOLDS = """
SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a USING (pid)
 WHERE l.relation = 'receipt'::regclass AND l.mode = 'RowExclusiveLock' AND l.granted
   AND a.state = 'idle in transaction' AND l.database = (SELECT oid FROM pg_database
                                                          WHERE datname = current_database())
"""
WAITS = "SELECT count(*) > 0 FROM pg_locks WHERE relation = 'receipt'::regclass AND NOT granted"


def reading() -> Record:
    """A batch that copies into gpu_reading and receipt, and not into usage_fact."""
    event = attempt("r1") | {"type": "gpu.energy.v1", "data": READING}
    return keyed(event)


@asynccontextmanager
async def wanting_receipt(worker: Connection, database: Database) -> AsyncIterator[Any]:
    """Somebody who makes an index on receipts, say; a task that ends when the table is theirs."""
    operator = await connect(database.superuser_url)
    changing = await connect(database.superuser_url)
    await changing.execute("BEGIN")
    task = asyncio.create_task(changing.execute("LOCK TABLE receipt IN SHARE MODE"))
    try:
        await until(lambda: worker.fetchval(WAITS), "the change of tables waits")
        yield task
    finally:
        await operator.fetchval("SELECT pg_terminate_backend($1, 5000)", changing.get_server_pid())
        await asyncio.gather(task, return_exceptions=True)
        await operator.close()


@pytest.mark.parametrize("bounded", [True, False])
async def test_two_batches_beside_a_change_of_tables_hang_unless_a_writer_gives_up(
    worker: Connection,
    database: Database,
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    bounded: bool,
) -> None:
    """The first batch waits for the change, the change for the second, and that for the first."""
    assert WRITING.keys() > SESSION.keys()
    monkeypatch.setattr(
        consumer, "WRITING", SESSION | {"lock_timeout": "4s"} if bounded else SESSION
    )
    await open_books(worker)
    await prepare_storage(worker, now=clock.now())
    topic = kafka_topic()
    async with running(settings_for(database, kafka_bootstrap, topic)), AsyncExitStack() as stack:
        # A first batch takes its time, in which a worker that polls in vain waits for it alone.
        produce(kafka_bootstrap, topic, [keyed(attempt("first"))])
        await until_received(worker, 1)
        async with gate_at(database.superuser_url, "usage_fact") as gate:
            produce(kafka_bootstrap, topic, [keyed(attempt("a"))])
            assert await gate.meet("", "WITH", patience_s=30) is not None
            produce(kafka_bootstrap, topic, [reading()])
            await until(lambda: worker.fetchval(HOLDS), "the second batch is written")
            task = await stack.enter_async_context(wanting_receipt(worker, database))
        done, _ = await asyncio.wait([task], timeout=20 if bounded else 6)
        assert (len(done), await fates(worker)) == (int(bounded), {"received": 1, "counted": 1})
        await stack.aclose()
        await until_received(worker, 3)
    assert await fates(worker) == {"received": 3, "counted": 3}
