"""A settle over books that have been silent for a year, and what a little news costs it then."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

from benchmarks.harness import Figure, median, say
from benchmarks.scale import RUNS
from benchmarks.server import bench_server
from ledger.flows.settle import settle
from ledger.store.connect import connect
from ledger.store.metering.ingest import ensure_partitions
from ledger.store.queries import Connection
from tests.support.books import Books, Tokens
from tests.support.database import Database

DAYS, DEPLOYMENTS, GPUS_EACH = 365, 4, 25
START = datetime(2025, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=DAYS)
QUARTER = timedelta(minutes=15)
STEP_S, READINGS = 10, 90
# What the year's silence, and news in it, may cost: seconds.
REACH = {"nothing new": 0.1, "a quarter hour later": 1.0, "one late event": 1.0}


def run() -> list[Figure]:
    """Seconds of one settle after a year without a reading, with what is new since the last."""
    with bench_server(()) as bench, bench.fresh() as database:
        return asyncio.run(_measure(database))


async def _measure(database: Database) -> list[Figure]:
    connection = await connect(database.worker_url)
    try:
        # A ledger that ran all that year has made each of its days.
        await ensure_partitions(connection, START.date(), days=DAYS + 8)
        books = Books(connection)
        await _fill(books)
        return await _figures(connection, books)
    finally:
        await connection.close()


async def _fill(books: Books) -> None:
    """Hardware that costs for a day, deployments without an end, readings of a quarter hour."""
    await books.customer()
    await books.facility()
    await books.pue(START)
    await books.tariff([(START, START + timedelta(days=1), "90")])
    for n in range(DEPLOYMENTS):
        rack, gpus = f"rack-{n}", [f"GPU-{n}-{gpu}" for gpu in range(GPUS_EACH)]
        end = START + timedelta(days=1)
        await books.lease(START, end, asset_id=rack, gpu_count=GPUS_EACH, all_in=False)
        await books.deployment(
            START, deployment_id=f"d-{n}", asset_id=rack, model=f"m-{n}", gpus=gpus
        )
        for gpu in gpus:
            times = [START + timedelta(seconds=STEP_S * step) for step in range(READINGS)]
            await books.readings(gpu, [(at, 10**9 + i * 4_000_000) for i, at in enumerate(times)])


async def _figures(connection: Connection, books: Books) -> list[Figure]:
    say(f"first day: {await _settle(connection, START + timedelta(days=1)):.2f} s")
    first = await _settle(connection, NOW)
    say(f"first settle after the year: {first:.2f} s")
    took: dict[str, list[float]] = {name: [] for name in REACH}
    now = NOW
    for n in range(RUNS):
        took["nothing new"].append(await _settle(connection, now))
        now += QUARTER
        took["a quarter hour later"].append(await _settle(connection, now))
        await books.usage(START + timedelta(days=30 * (n % 10 + 1)), Tokens(uncached=5))
        took["one late event"].append(await _settle(connection, now))
        # The charge and the line that the event made are booked; then all is still again.
        await _settle(connection, now)
    return [
        _figure("the first settle", [first], 1.0),
        *(_figure(name, seconds, REACH[name]) for name, seconds in took.items()),
    ]


async def _settle(connection: Connection, now: datetime) -> float:
    began = time.perf_counter()
    await settle(connection, now=now)
    return time.perf_counter() - began


def _figure(name: str, seconds: list[float], reach: float) -> Figure:
    return Figure(
        name=f"settle after a year of silence, {name}",
        median=median(seconds),
        unit="s",
        runs=len(seconds),
        reach=f"≤ {reach:g} s",
        met=median(seconds) <= reach,
        details={
            "windows of silence": DAYS * 96,
            "GPUs": DEPLOYMENTS * GPUS_EACH,
            "deployments": DEPLOYMENTS,
            "readings, all of the first quarter hour": DEPLOYMENTS * GPUS_EACH * READINGS,
            "daily partitions": DAYS + 8,
            "runs": [f"{one:.3f}" for one in seconds],
        },
    )
