"""One seed: random records, workers and faults, and then the books against the model."""

import asyncio
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from kafka import KafkaProducer

from ledger.domain.metering.record import Record
from ledger.embedded.postgres import EmbeddedServer, open_server
from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.ingest import ingest, prepare_storage
from ledger.flows.metering.limits import IngestLimits
from ledger.store.connect import connect
from ledger.wire.batch import BatchHeader
from ledger.wire.errors import BatchHeaderError
from tests.support.database import Database, fresh_database, make_template, server_folder
from tests.support.kafka import OFTEN, SINGLE_NODE, Broker, create_topic, make_broker
from tests.torture.books import compare, receipts_of
from tests.torture.cut_offs import AWAY, CutOffs
from tests.torture.faults import ARCHIVES, DAMAGE_ARCHIVE, FREEZE, faults_of, inflict
from tests.torture.kinds import kinds_of
from tests.torture.left import leave_books
from tests.torture.neighbours import Neighbours, make_keys, make_knocks
from tests.torture.nursery import Nursery
from tests.torture.replays import replay_refused
from tests.torture.scene import Met, Scene
from tests.torture.sending import (
    ENTITIES,
    KEYED,
    KNOWN,
    MENDS,
    SEQUENCED,
    Sent,
    heavy_record,
    late_mends,
    make_records,
    partitions_of,
)
from tests.torture.workers import Workers

SECONDS_MAX = 120
PAUSE_S = 0.01
# What the machine needs, not what a crash may lose: durable but for the size of its memory.
SETTINGS = {"shared_buffers": "64MB"}
# A broker that was killed is let in again once its old session is over.
BROKER = SINGLE_NODE | {
    "broker.session.timeout.ms": "1000",
    "broker.heartbeat.interval.ms": "200",
}


@dataclass(frozen=True)
class Outcome:
    """What became of a seed: its faults, what was sent by kind, and what was wrong."""

    seed: int
    faults: Sequence[Met]
    kinds: Mapping[str, int]
    seconds: float
    wrong: Sequence[str] = ()
    lost: int = 0
    doubled: int = 0
    errors: Sequence[str] = ()


@dataclass(frozen=True)
class Ground:
    """A PostgreSQL and a broker for the seeds of one process."""

    server: EmbeddedServer
    template: str
    broker: Broker
    folder: Path
    nursery: Nursery


@contextmanager
def ground() -> Iterator[Ground]:
    """Real parts, started once for many seeds."""
    with server_folder() as folder, server_folder() as broker_folder:
        server = open_server(folder, SETTINGS)
        broker = make_broker(broker_folder, options=OFTEN, settings=BROKER)
        nursery = Nursery()
        try:
            broker.start()
            yield Ground(server, make_template(server), broker, broker_folder, nursery)
        finally:
            nursery.close()
            broker.close()
            server.close()


def run_seed(ground: Ground, seed: int, faults: Sequence[str] | None = None) -> Outcome:
    """Run a seed; `faults` None are those that the seed draws."""
    began = time.monotonic()
    sent, missing = make_records(seed)
    draw = random.Random(f"faults {seed}")
    chosen = list(faults_of(draw) if faults is None else faults)
    # Where a run before this one was cut short, they may be away.
    ground.server.start(SETTINGS)
    ground.broker.start()
    topic = f"torture-{seed}-{time.monotonic_ns()}"
    create_topic(ground.broker.bootstrap, topic, partitions_of(seed) + 1)
    with ExitStack() as stack:
        database = stack.enter_context(fresh_database(ground.server, ground.template))
        log = str(ground.folder / f"{topic}.log")
        # Who freezes in a COPY has rows to copy; what comes over HTTP, or came before, is rows too.
        columns = FREEZE not in chosen and seed % 3 != 0
        workers = Workers(
            database.worker_url, ground.broker.bootstrap, topic, log, ground.nursery, columns
        )
        # What comes and goes in a run is away after its workers are.
        things = stack.enter_context(ExitStack())
        stack.callback(workers.close)
        scene = Scene(
            seed,
            draw,
            ground.server,
            ground.broker,
            database,
            workers,
            str(ground.folder),
            partitions_of(seed),
            CutOffs(database.worker_url),
            Neighbours(make_knocks(seed, sent)),
            things,
        )
        found = asyncio.run(_run(scene, chosen, sent, missing))
    wrong = found.wrong
    if wrong:
        wrong = [*wrong, "log: " + Path(log).read_text(errors="replace")[-2000:]]
    return Outcome(
        seed,
        found.met,
        found.kinds,
        round(time.monotonic() - began, 1),
        wrong,
        found.lost,
        found.doubled,
        sorted(scene.neighbours.errors),
    )


@dataclass
class Found:
    """What a run met and sent, and what of it is wrong, lost or doubled in the end."""

    met: list[Met]
    wrong: list[str]
    kinds: Mapping[str, int] = field(default_factory=dict)
    lost: int = 0
    doubled: int = 0


async def _run(
    scene: Scene, faults: Sequence[str], sent: Sequence[Sent], missing: set[tuple[str, int]]
) -> Found:
    old = _past(sent) if ARCHIVES.intersection(faults) else []
    await ingest_all(scene.database, old, ago=timedelta(days=3))
    scene.neighbours.keys = await make_keys(scene.database.worker_url)
    shares = _shares(scene.draw, sent, len(faults) + 1)
    if DAMAGE_ARCHIVE in faults:
        shares[faults.index(DAMAGE_ARCHIVE) + 1] += late_mends(scene.seed, old)
    if FREEZE in faults:
        shares.insert(faults.index(FREEZE) + 1, [heavy_record(scene.seed)])
    sent = [one for share in shares for one in share]
    scene.cut_offs.begin(scene.database.worker_url, {})
    try:
        await asyncio.to_thread(scene.neighbours.serve, scene.database)
        scene.neighbours.start()
        found = Found(*await _inflict_all(scene, faults, shares))
    finally:
        await asyncio.to_thread(scene.neighbours.close)
        await scene.cut_offs.stop()
    if not found.wrong:
        await _compare(scene, found, old, sent, missing)
    return found


async def _compare(
    scene: Scene,
    found: Found,
    old: Sequence[Sent],
    sent: Sequence[Sent],
    missing: set[tuple[str, int]],
) -> None:
    """The books in the end against the model, of whatever came by whichever way."""
    url = scene.database.worker_url
    if scene.collector is not None:
        hosted, gaps, wrong = await asyncio.to_thread(scene.collector.sent)
        sent, missing = [*sent, *hosted], missing | gaps
        found.wrong += wrong
    knocked, wrong = await scene.neighbours.received(url)
    found.wrong += wrong
    found.wrong += await scene.cut_offs.slipped()
    again, wrong = await replay_refused(url)
    found.wrong += wrong
    deliveries = [*(one.said for one in [*old, *sent]), *knocked]
    compared = await compare(url, deliveries, missing)
    found.wrong += compared.wrong + await receipts_of(url, sent)
    if found.wrong:
        found.wrong.append(f"its books are in {await leave_books(url, scene.seed, deliveries)}")
    found.lost, found.doubled = compared.lost, compared.doubled
    found.kinds = {
        **kinds_of(sent, missing),
        **scene.neighbours.kinds(),
        "refused of bound keys and replayed": again,
        "batches of the collector": len(scene.collector.kept) if scene.collector else 0,
        "appends refused by a full disk": scene.collector.refused if scene.collector else 0,
    }


async def _inflict_all(
    scene: Scene, faults: Sequence[str], shares: Sequence[Sequence[Sent]]
) -> tuple[list[Met], list[str]]:
    """Send the shares, one more with each fault, and wait until all of it is read."""
    producing = threading.Thread(target=_produce, args=(scene, shares), daemon=True)
    scene.shares.extend(len(share) for share in shares)
    scene.count = len(shares)
    met, wrong = list[Met](), list[str]()
    for _ in range(scene.draw.choice([1, 2, 2])):
        scene.workers.start()
    producing.start()
    scene.release()
    await scene.until(lambda stored: stored > 0, "SELECT count(*) FROM kafka_position")
    for nth, name in enumerate(faults):
        one, found = await inflict(name, nth, scene)
        met.append(one)
        wrong += found
    for _ in shares:
        scene.release()
    if not scene.workers.running:
        scene.workers.start()
    await asyncio.to_thread(producing.join)
    return met, wrong + await _until_read(scene, sum(len(share) for share in shares))


def _shares(draw: random.Random, sent: Sequence[Sent], count: int) -> list[list[Sent]]:
    """Cuts the records into shares: each fault meets workers that have one of them to read."""
    edges = [0, *(n * len(sent) // count + draw.randrange(3) for n in range(1, count)), len(sent)]
    return [list(sent[since:until]) for since, until in pairwise(edges)]


def _past(sent: Sequence[Sent]) -> list[Sent]:
    """Records that came days ago as well; with usage of strangers a day is not archived."""
    known = [one for one in sent if all(a.customer in KNOWN for a in one.said.attempts)]
    return known[:12]


async def _open_books(database: Database, now: datetime) -> None:
    """Customers that are known, and the sources, so that a correction finds their form."""
    connection = await connect(database.worker_url)
    try:
        await prepare_storage(connection, now=now)
        await connection.executemany(
            "INSERT INTO entity (entity_id, currency, zone, invoice_prefix, batch_seq)"
            " VALUES ($1, 'EUR', 'UTC', $1, 0)",
            [(name,) for name in ENTITIES],
        )
        await connection.executemany(
            "INSERT INTO customer (customer_id, entity_id, batch_seq) VALUES ($1, $2, 0)",
            [(name, entity) for entity, names in ENTITIES.items() for name in names],
        )
        await connection.executemany(
            "INSERT INTO source (source, form, batch_seq) VALUES ($1, $2, 0)",
            [(SEQUENCED, "sequenced"), (KEYED, "keyed"), (MENDS, "keyed")],
        )
    finally:
        await connection.close()


async def ingest_all(
    database: Database, sent: Sequence[Sent], *, ago: timedelta = timedelta()
) -> None:
    """Open the books and store these records one by one, with nothing in their way."""
    now = datetime.now(UTC) - ago
    await _open_books(database, now)
    connection = await connect(database.worker_url)
    try:
        cache = DirectoryCache()
        for one in sent:
            await ingest(
                connection,
                [record_of(one)],
                directory=cache,
                now=now,
                limits=IngestLimits(),
            )
    finally:
        await connection.close()


def record_of(one: Sent) -> Record:
    """A record as the consumer hands it on."""
    try:
        return Record(one.body, BatchHeader.from_headers(one.headers))
    except BatchHeaderError as error:
        return Record(one.body, refusal=str(error))


def _produce(scene: Scene, shares: Sequence[Sequence[Sent]]) -> None:
    producer = KafkaProducer(
        bootstrap_servers=scene.broker.bootstrap,
        acks="all",
        enable_idempotence=True,
        delivery_timeout_ms=60_000,
        reconnect_backoff_max_ms=500,
    )
    topic = scene.workers.topic
    try:
        for share in shares:
            scene.gate.acquire()
            for one in share:
                producer.send(topic, one.body, headers=one.headers, partition=one.partition)
                scene.sent += 1
                time.sleep(PAUSE_S)
        producer.flush(60)
    finally:
        producer.close()


async def _until_read(scene: Scene, records: int) -> list[str]:
    """Wait until every record of the topic is behind a committed position."""
    database, collector = scene.database, scene.collector
    records += collector.delivered() if collector is not None else 0
    until = time.monotonic() + SECONDS_MAX
    done = 0
    while time.monotonic() < until:
        try:
            connection = await connect(database.worker_url)
            try:
                done = await connection.fetchval(
                    "SELECT coalesce(sum(next_offset), 0) FROM kafka_position"
                )
            finally:
                await connection.close()
        except AWAY:
            pass
        if done >= records:
            return []
        await asyncio.sleep(0.1)
    return [
        f"stuck: {done} of {records} records were read in {SECONDS_MAX} s",
        *await _busy(database),
    ]


async def _busy(database: Database) -> list[str]:
    """What every connection is at, for whoever has to find out why nothing moves."""
    connection = await connect(database.superuser_url)
    try:
        rows = await connection.fetch(ACTIVITY)
    finally:
        await connection.close()
    return [" ".join(map(str, row)) for row in rows]


ACTIVITY = """
SELECT application_name, pid, state, wait_event, pg_blocking_pids(pid), xact_start, left(query, 80)
  FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
