"""What allocating an hour of a whole factory costs, and again with little or nothing new."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context

import numpy as np
import polars as pl
import psutil
from numpy.typing import NDArray

from benchmarks.harness import Figure, say
from benchmarks.processes import MIB, Watch
from benchmarks.scale import scaled
from benchmarks.server import Bench, bench_server, sql
from ledger import clock
from ledger.domain.arrays import Ints
from ledger.domain.metering import rows
from ledger.domain.metering.key import EngineKeyRow, UsageKeyRow
from ledger.domain.metering.spread import METERS
from ledger.domain.period import DAY, EPOCH, HOUR, MICROSECOND, WINDOW
from ledger.flows.books.book_cost import book_cost
from ledger.flows.cost.allocate import allocate
from ledger.flows.cost.thin import thin
from ledger.flows.metering.ingest import prepare_storage
from ledger.flows.stage import StageReport
from ledger.reports.cost.margin import MarginReport, margin_report
from ledger.reports.cost.margin_intervals import find_intervals
from ledger.store.binary import Rows
from ledger.store.connect import connect, draw_batch_seq, draw_cut_off
from ledger.store.copying import copy_binary
from ledger.store.metering.chunks import EncodedChunk, insert_chunk
from ledger.store.metering.ingest import (
    encode_activity,
    encode_masks,
    insert_engine_keys,
    insert_usage_keys,
)
from ledger.store.queries import Connection
from ledger.stream.memory import collecting_rarely
from tests.support.books import Books
from tests.support.database import Database, execute

START = datetime(2026, 8, 6, tzinfo=UTC)
START_US = (START - EPOCH) // MICROSECOND
MODELS = 4
BATCH_FACTS = 20_000
READ_EVERY_S = 10
WINDOW_US = WINDOW // MICROSECOND
WINDOWS, KEYS, KIB, STORED_KIB = DAY // WINDOW, 3, 1024, 2
# What the whole size is to reach: seconds of CPU of the stage and of PostgreSQL.
REACH = {"the first time": 4.0, "nothing new": 0.1, "one late event": 0.5}
MEMORY_MIB, MARGIN_S = 500, 0.5
AT_1_HZ_S, DAY_S, FACTS_A_S = 8.0, 3.0, 1_000_000
ATTEMPTS = 500
# The hour again and again, for a margin.
MARGIN_DAYS = 31


@dataclass(frozen=True, slots=True)
class Size:
    """Deployments of one engine each, GPUs over all of them, customers with so many attempts in
    every quarter hour, and hours; the first four by an environment variable, or by the scale of the
    run."""

    deployments: int
    customers: int
    gpus: int
    hours: int
    attempts: int = 1
    read_every_s: int = READ_EVERY_S

    @property
    def lines(self) -> int:
        """One a customer and quarter hour."""
        return self.customers * self.hours * 4

    @property
    def facts(self) -> int:
        """One an attempt."""
        return self.lines * self.attempts

    @property
    def until(self) -> datetime:
        """When what is measured ends."""
        return START + self.hours * HOUR

    def tenth(self) -> "Size":
        """A tenth of the factory."""
        deployments, customers, gpus = (
            max(n // 10, 1) for n in (self.deployments, self.customers, self.gpus)
        )
        return Size(deployments, customers, gpus, self.hours)

    def day(self) -> "Size":
        """A whole day of it."""
        return replace(self, hours=24)


def asked_size() -> Size:
    """BENCH_DEPLOYMENTS, BENCH_CUSTOMERS, BENCH_GPUS and BENCH_HOURS."""

    def named(name: str, whole: int) -> int:
        return int(os.environ.get(f"BENCH_{name}") or scaled(whole))

    gpus = named("GPUS", 800)
    return Size(named("DEPLOYMENTS", 100), named("CUSTOMERS", 100_000), gpus, named("HOURS", 1))


def run() -> list[Figure]:
    """CPU of the stage and of PostgreSQL for the first allocation, for one with nothing new and
    with one late event; the most memory; and margins over the hour again and again."""
    size = asked_size()
    with bench_server(()) as bench:
        with bench.fresh() as database:
            _fill_elsewhere(database, size)
            figures = asyncio.run(_measure(bench, database, size))
        with bench.fresh() as database:
            fewer = replace(size, customers=max(size.customers // 10, 1))
            figures += asyncio.run(_measure_margin(bench, database, fewer))
        with bench.fresh() as database:
            fewer = replace(size.tenth().day(), customers=max(size.customers // 100, 1))
            figures.append(asyncio.run(_measure_stored(database, fewer)))
        return figures + [_measure_one(bench, one) for one in _ones(size)]


async def _measure_stored(database: Database, size: Size) -> Figure:
    """What is stored of a day that is over, added up, booked and thinned, of customers who have
    KEYS keys each."""
    connection = await connect(database.worker_url)
    try:
        # Nothing of it asks whose a key is.
        await _fill(connection, replace(size, customers=size.customers * KEYS))
        await execute(database.superuser_url, "ANALYZE")
        for stage in (allocate, book_cost, thin):
            await stage(connection, now=size.until + HOUR)
        await execute(database.superuser_url, "VACUUM cost_share")
        stored = await connection.fetchval(sql("allocated_octets"))
    finally:
        await connection.close()
    kib = stored / size.customers / KIB
    return Figure(
        name=f"cost lines of a customer with {KEYS} keys, active all day, once it is over",
        median=round(kib, 2),
        unit="KiB",
        runs=1,
        reach=f"≤ {STORED_KIB} KiB",
        met=kib <= STORED_KIB,
        details={"customers": size.customers, "deployments": size.deployments},
    )


async def _measure(bench: Bench, database: Database, size: Size) -> list[Figure]:
    connection = await connect(database.worker_url)
    try:
        await execute(database.superuser_url, "ANALYZE")
        taken = [await _allocate(bench, connection, "the first time", size)]
        taken.append(await _allocate(bench, connection, "nothing new", size))
        stored = await connection.fetchval(sql("allocated_octets"))
        await _insert(connection, _facts(size, 0, 1).with_columns(pl.col(METERS) + 1))
        taken.append(await _allocate(bench, connection, "one late event", size))
        margin = await _margin_of_days(bench, connection, database)
    finally:
        await connection.close()
    return [*_figures(size, taken, stored), _margin_figure(size, margin)]


async def _measure_margin(bench: Bench, database: Database, size: Size) -> list[Figure]:
    """A margin of the customers that its mark is for, and what its intervals take beyond it."""
    connection = await connect(database.worker_url)
    try:
        await _fill(connection, size)
        await allocate(connection, now=size.until)
        margin = await _margin_of_days(bench, connection, database)
        off = await _intervals(bench, connection, margin)
    finally:
        await connection.close()
    figure = _margin_figure(size, margin)
    return [
        replace(figure, reach=f"< {MARGIN_S:g} s", met=margin.cpu_s < MARGIN_S),
        replace(_margin_figure(size, off), name=f"intervals of the {figure.name}"),
    ]


async def _intervals(bench: Bench, connection: Connection, margin: "Spent") -> "Spent":
    report = margin.answer
    assert isinstance(report, MarginReport)
    off = await _spent(bench, lambda: find_intervals(connection, report))
    say(f"its intervals: {off.cpu_s:.2f} s of CPU, {off.wall_s:.2f} s")
    return off


async def _margin_of_days(bench: Bench, connection: Connection, database: Database) -> "Spent":
    await execute(database.superuser_url, sql("more_costs").format(days=MARGIN_DAYS))
    await execute(database.superuser_url, "ANALYZE")
    margin = await _spent(bench, lambda: _margin(connection))
    say(f"margin over {MARGIN_DAYS} d: {margin.cpu_s:.2f} s of CPU, {margin.wall_s:.2f} s")
    return margin


@dataclass(frozen=True, slots=True)
class Spent:
    """What something took; `answer` is what it came to."""

    name: str
    cpu_s: float
    wall_s: float
    memory_mib: float
    answer: object


async def _spent(bench: Bench, work: Callable[[], Awaitable[object]], name: str = "") -> Spent:
    watch = Watch(psutil.Process())
    spent, began = time.process_time() + bench.cpu_seconds(), time.perf_counter()
    answer = await work()
    ended = time.perf_counter()
    cpu_s = time.process_time() + bench.cpu_seconds() - spent
    watch.stop()
    memory = max(watch.between(began, ended), default=0) / MIB
    return Spent(name, cpu_s, ended - began, memory, answer)


async def _allocate(bench: Bench, connection: Connection, name: str, size: Size) -> Spent:
    # As every process that runs stages does.
    with collecting_rarely():
        taken = await _spent(bench, lambda: allocate(connection, now=size.until), name)
    report = _reported(taken)
    say(f"{name}: {report}, {taken.cpu_s:.2f} s of CPU, {taken.memory_mib:.0f} MiB")
    return taken


def _reported(taken: Spent) -> str:
    report = taken.answer
    assert isinstance(report, StageReport)
    return f"{report.rows_written:,} rows of {report.windows} windows in {taken.wall_s:.2f} s"


async def _margin(connection: Connection) -> object:
    return await margin_report(
        connection,
        entity_id="factory",
        since=START,
        until=START + MARGIN_DAYS * DAY,
        cut_off=await draw_cut_off(connection, "margin"),
    )


@dataclass(frozen=True, slots=True)
class _One:
    """Another factory, and what allocating all of it is to take, or how many facts a second."""

    name: str
    size: Size
    most_s: float | None = None
    facts_a_s: int | None = None

    def figure(self, taken: Spent) -> Figure:
        """Seconds of CPU, or facts for each of them."""
        a_second = self.facts_a_s is not None
        value = self.size.facts / taken.cpu_s if a_second else taken.cpu_s
        mark = float(self.facts_a_s or self.most_s or 0)
        return Figure(
            name=self.name,
            median=value,
            unit="facts/s of CPU" if a_second else "s of CPU",
            runs=1,
            reach=f"≥ {mark:,.0f}/s" if a_second else f"≤ {mark:g} s",
            met=value >= mark if a_second else value <= mark,
            details={
                **{name: getattr(self.size, name) for name in ("deployments", "customers")},
                **{"GPUs": self.size.gpus, "facts": self.size.facts, "lines": self.size.lines},
                **{"wall, s": round(taken.wall_s, 2), "memory, MiB": round(taken.memory_mib)},
            },
        )


def _ones(size: Size) -> list[_One]:
    tenth = size.tenth()
    many = replace(tenth, customers=max(tenth.customers // 10, 1), attempts=ATTEMPTS)
    read_often = replace(size, read_every_s=1)
    return [
        _One(f"allocating a day of {tenth.day().lines:,} lines", tenth.day(), most_s=DAY_S),
        _One(f"allocating {size.hours} h read at 1 Hz", read_often, most_s=AT_1_HZ_S),
        _One("allocation of facts in all", many, facts_a_s=FACTS_A_S),
    ]


def _measure_one(bench: Bench, one: _One) -> Figure:
    with bench.fresh() as database:
        return asyncio.run(_allocate_one(bench, database, one))


async def _allocate_one(bench: Bench, database: Database, one: _One) -> Figure:
    connection = await connect(database.worker_url)
    try:
        await _fill(connection, one.size)
        await execute(database.superuser_url, "ANALYZE")
        return one.figure(await _allocate(bench, connection, one.name, one.size))
    finally:
        await connection.close()


def _figures(size: Size, taken: list[Spent], stored: int) -> list[Figure]:
    lines = size.lines
    details = {"deployments": size.deployments, "customers": size.customers, "GPUs": size.gpus}
    figures = [
        Figure(
            name=f"allocating {size.hours} h of {lines:,} lines, {spent.name}",
            median=spent.cpu_s,
            unit="s of CPU",
            runs=1,
            reach=f"≤ {REACH[spent.name]:g} s",
            met=spent.cpu_s <= REACH[spent.name],
            details={**details, "wall, s": round(spent.wall_s, 2)},
        )
        for spent in taken
    ]
    return [
        *figures,
        Figure(
            name=f"allocating {size.hours} h of {lines:,} lines, memory",
            median=taken[0].memory_mib,
            unit="MiB",
            runs=1,
            reach=f"≤ {MEMORY_MIB} MiB",
            met=taken[0].memory_mib <= MEMORY_MIB,
        ),
        Figure(
            name=f"cost lines of a customer with {KEYS} keys, active all day, while it is open",
            median=round(stored / lines * WINDOWS * KEYS / KIB, 2),
            unit="KiB",
            runs=1,
            details={"customers": size.customers, "deployments": size.deployments},
        ),
    ]


def _margin_figure(size: Size, margin: Spent) -> Figure:
    return Figure(
        name=f"margin over {MARGIN_DAYS} days of {size.customers:,} customers",
        median=margin.cpu_s,
        unit="s of CPU",
        runs=1,
        details={"deployments": size.deployments, "wall, s": round(margin.wall_s, 2)},
    )


def _fill_elsewhere(database: Database, size: Size) -> None:
    """Fill it by another process: what that leaves in memory is none of what allocating takes."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
        other.submit(_fill_alone, database.worker_url, size).result()


def _fill_alone(worker_url: str, size: Size) -> None:
    async def fill() -> None:
        connection = await connect(worker_url)
        try:
            await _fill(connection, size)
        finally:
            await connection.close()

    asyncio.run(fill())


async def _fill(connection: Connection, size: Size) -> None:
    await prepare_storage(connection, now=clock.now())
    books = Books(connection)
    await books.facility()
    await books.pue(START)
    await books.tariff([(START, START + timedelta(days=31), "90")])
    for n in range(size.deployments):
        gpus = [f"GPU-{gpu}" for gpu in range(n, size.gpus, size.deployments)]
        await books.lease(START, asset_id=f"rack-{n}", gpu_count=len(gpus), all_in=False)
        await books.deployment(
            START,
            deployment_id=f"d-{n}",
            asset_id=f"rack-{n}",
            model=f"m-{n % MODELS}",
            gpus=gpus,
            instances=[f"engine-{n}"],
        )
        for gpu in gpus:
            await books.readings(gpu, _readings(size))
    await _enter_keys(connection, size)
    for first in range(0, size.facts, BATCH_FACTS):
        await _insert(connection, _facts(size, first, min(BATCH_FACTS, size.facts - first)))


def _readings(size: Size) -> list[tuple[datetime, int]]:
    """A counter that grows by 400 W."""
    seconds = range(0, size.hours * 3_600 + 1, size.read_every_s)
    return [(START + timedelta(seconds=at), 10**9 + at * 400_000) for at in seconds]


async def _enter_keys(connection: Connection, size: Size) -> None:
    await insert_usage_keys(connection, [_usage_key(n) for n in range(1, size.customers + 1)])
    engines = range(size.deployments)
    await insert_engine_keys(
        connection,
        [EngineKeyRow(n + 1, f"engine-{n}", f"m-{n % MODELS}", "standard") for n in engines],
    )


def _hashed(numbers: Ints) -> Ints:
    """Numbers of usage keys, which ingest makes of hashes: anywhere in 64 bits."""
    return numbers * 0x5851F42D4C957F2D


def _usage_key(number: int) -> UsageKeyRow:
    return UsageKeyRow(
        usage_key_id=int(_hashed(np.array([number]))[0]),
        entity_id="factory",
        customer_id=f"customer-{number}",
        customer_ref=f"customer-{number}",
        project_id="",
        api_key_id="",
        agent_id="",
        tier="standard",
        model=f"m-{number % MODELS}",
        adapter="",
        region="",
        context_band=0,
    )


def _facts(size: Size, first: int, count: int) -> pl.DataFrame:
    """Attempts of one customer after the other in each quarter hour, of 1 to 30 s."""
    chance = np.random.default_rng(first)
    number = first + np.arange(count)
    customer, window = number % size.customers, number // (size.customers * size.attempts)
    took = chance.integers(1_000_000, 30_000_000, count)
    ended = START_US + window * WINDOW_US + took + chance.integers(0, WINDOW_US - 30_000_000, count)
    values: dict[str, Ints | NDArray[np.int32]] = {
        "ordinal": np.arange(count, dtype=np.int32),
        "usage_key_id": _hashed(customer + 1),
        "engine_key_id": customer % size.deployments + 1,
        "time": ended,
        "started_at": ended - took,
        "first_token_at": ended - took + took // 10,
        "ended_at": ended,
        "requests": np.ones(count, np.int64),
        **{name: chance.integers(0, 4_000, count) for name in METERS},
    }
    fixed = {"lane": pl.Int16, "kind": pl.Int16, "flags": pl.Int32, "source_id": pl.Int32}
    return pl.DataFrame(values).with_columns(
        *(pl.lit(1, dtype).alias(name) for name, dtype in fixed.items()),
        pl.format("customer-{}", pl.Series(customer + 1)).alias("customer_id"),
        *(pl.lit(None, pl.String).alias(name) for name in ("event_id", "agent_run_id", "end_user")),
        queue_ms=pl.lit(None, pl.Int64),
        sign=pl.lit(1, pl.Int64),
    )


async def _insert(connection: Connection, frame: pl.DataFrame) -> None:
    """Facts, and the windows that ingest would have made of them, as one batch."""
    day = clock.now().date()
    tables = {
        "usage_delta": Rows.of(rows.usage_delta_frame(frame), rows.USAGE_DELTA_COLUMNS),
        "activity": encode_activity(rows.activity_delta_frame(frame)),
        "activity_mask": encode_masks(rows.activity_mask_frame(frame)),
    }
    async with connection.transaction():
        batch_seq = await draw_batch_seq(connection)
        for table, encoded in tables.items():
            encoded.number(batch_seq)
            await copy_binary(connection, table, encoded)
        chunk = EncodedChunk.of(rows.fact_frame(frame, stored_day=day), stored_day=day)
        await insert_chunk(connection, chunk, batch_seq=batch_seq)
