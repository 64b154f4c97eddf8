"""The PostgreSQL of every measurement: durable, one setting for yardstick and ledger alike."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import polars as pl
import psutil

from ledger import clock
from ledger.domain.author import Author
from ledger.domain.metering.rows import FACT_COLUMNS
from ledger.embedded.postgres import EmbeddedServer, embedded_server
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.reference.parties import enter_customer, enter_entity
from ledger.store.binary import Rows
from ledger.store.connect import connect
from ledger.store.copying import copy_binary
from ledger.store.metering.chunks import ChunkSearch, find_chunks, read_chunks
from ledger.store.queries import OwnConnection
from ledger.wire.inputs import read_input
from ledger.wire.party_inputs import NewCustomer, NewEntity
from tests.support.database import Database, execute, fresh_database, make_template, urls

# What an operator gives a database of this kind; fsync and synchronous_commit stay on.
SETTINGS = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "pglz",
    "wal_buffers": "64MB",
}
SQL = Path(__file__).parent / "sql"
ENTERED_MOST = 1_000
AUTHOR = Author("cli:benchmark", "to measure", "benchmark")
# Settings of the server measured last, for the results.
SHOWN: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Bench:
    """A running server with a migrated template that knows the customers of the events."""

    server: EmbeddedServer
    template: str

    @contextmanager
    def fresh(self) -> Iterator[Database]:
        """A database of one run, whose start no checkpoint of the run before disturbs."""
        with fresh_database(self.server, self.template) as database:
            asyncio.run(execute(database.superuser_url, "CHECKPOINT"))
            yield database

    def cpu_seconds(self) -> float:
        """CPU time of all server processes so far, those that have ended included."""
        pid = int((self.server.pgdata / "postmaster.pid").read_text().split("\n", 1)[0])
        postmaster = psutil.Process(pid)
        spent = postmaster.cpu_times()
        ended = float(spent.children_user + spent.children_system)
        return ended + sum(map(cpu_seconds, [postmaster, *postmaster.children(recursive=True)]))


@contextmanager
def bench_server(customers: Iterable[str]) -> Iterator[Bench]:
    """Start one, enter the customers, and note its settings in SHOWN."""
    with (
        tempfile.TemporaryDirectory(prefix="tokenledger-bench-") as folder,
        embedded_server(Path(folder), SETTINGS) as server,
    ):
        template = make_template(server)
        asyncio.run(_enter(urls(server, template).worker_url, customers))
        asyncio.run(_note_settings(server.url(database="postgres")))
        yield Bench(server, template)


def sql(name: str) -> str:
    """The text of benchmarks/sql/NAME.sql."""
    return (SQL / f"{name}.sql").read_text()


def cpu_seconds(process: psutil.Process) -> float:
    """CPU time of one process, 0 once it is gone."""
    try:
        spent = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(spent.user + spent.system)


async def yardstick(database: Database) -> float:
    """Rows a second of binary COPY, pre-encoded, of every fact of `database` into a bare table."""
    connection = await connect(database.superuser_url)
    try:
        await connection.execute(sql("yardstick"))
        await _spread(connection)
        with tempfile.TemporaryDirectory(prefix="tokenledger-bench-") as folder:
            path = Path(folder) / "rows.bin"
            await connection.copy_from_query(sql("facts"), output=path, format="binary")
            body = path.read_bytes()
        return await _copy(connection, body)
    finally:
        await connection.close()


async def _spread(connection: OwnConnection) -> None:
    """Facts of chunks as rows of spread_fact, as ingest would have encoded them."""
    async for facts in read_chunks(connection, await find_chunks(connection, ChunkSearch())):
        users = pl.col("end_user").str.replace_all("-", "").str.decode("hex")
        encoded = Rows.of(facts.with_columns(users), FACT_COLUMNS)
        await copy_binary(connection, "spread_fact", encoded)


async def _copy(connection: OwnConnection, body: bytes) -> float:
    chunks = [body[at : at + 2**20] for at in range(0, len(body), 2**20)]

    async def stream() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    began = time.perf_counter()
    copied = await connection.copy_to_table("yardstick", source=stream(), format="binary")
    return int(copied.split()[1]) / (time.perf_counter() - began)


async def _enter(worker_url: str, customers: Iterable[str]) -> None:
    connection = await connect(worker_url)
    try:
        entity = {"entity_id": "factory", "name": "Factory", "currency": "EUR", "zone": "UTC"}
        await enter_entity(connection, read_input(NewEntity, entity), AUTHOR)
        names = list(customers)
        for name in names[:ENTERED_MOST]:
            said = {"customer_id": name, "entity_id": "factory", "name": name}
            await enter_customer(connection, read_input(NewCustomer, said), AUTHOR)
        # One by one they would take minutes.
        await connection.execute(sql("more_customers"), names[ENTERED_MOST:], names[0:1])
        await prepare_storage(connection, now=clock.now())
    finally:
        await connection.close()


async def _note_settings(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        rows = await connection.fetch(sql("settings"))
    finally:
        await connection.close()
    SHOWN.clear()
    SHOWN.update({row["name"]: row["value"] for row in rows})
