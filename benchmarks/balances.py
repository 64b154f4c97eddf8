"""How long a balance takes by how long the journal is: at any moment and any cut-off."""

import asyncio
import os
import random
import time
from datetime import UTC, datetime, timedelta

from benchmarks.harness import Figure, median, say
from benchmarks.latency import percentile
from benchmarks.scale import scaled
from benchmarks.server import Bench, bench_server, sql
from ledger.flows.books.carry import carry
from ledger.store.books.balances import find_balances
from ledger.store.connect import connect
from ledger.store.queries import OwnConnection
from tests.support.database import Database, execute

ENTRIES = tuple(map(int, os.environ.get("BENCH_ENTRIES", "100000,500000,2000000").split(",")))
BEGAN = datetime(2024, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 4, 1, tzinfo=UTC)
DAYS, ASKED, PROVED = 730, 60, 3
REACH_MS = 50
ENTITY = "factory"


def run() -> list[Figure]:
    """The 99th percentile of balances at moments and cut-offs drawn by chance."""
    figures: list[Figure] = []
    for entries in (scaled(count, 500) for count in ENTRIES):
        with bench_server(()) as bench, bench.fresh() as database:
            figures.append(asyncio.run(_measure(bench, database, entries)))
    return figures


async def _measure(bench: Bench, database: Database, entries: int) -> Figure:
    await execute(database.superuser_url, sql("journal").format(entries=entries))
    await execute(database.superuser_url, "VACUUM ANALYZE")
    connection = await connect(database.worker_url)
    try:
        began = time.process_time() + bench.cpu_seconds()
        rows = (await carry(connection, now=NOW)).rows_written
        carried = time.process_time() + bench.cpu_seconds() - began
        took = await _ask(connection, entries)
        await _prove(connection, entries)
        spent = bench.cpu_seconds()
        await _ask(connection, entries)
        spent = (bench.cpu_seconds() - spent) * 1e3 / ASKED
    finally:
        await connection.close()
    p99 = percentile(took, 99)
    say(f"{entries:,} entries: p99 {p99:.1f} ms, {spent:.1f} ms of CPU; carried in {carried:.1f} s")
    return Figure(
        f"balances of a journal of {entries:,} entries",
        p99,
        "ms, p99",
        ASKED,
        reach=f"< {REACH_MS} ms",
        met=p99 < REACH_MS,
        details={
            "postings each": 4,
            "p50, ms": round(median(took), 2),
            "CPU of PostgreSQL a balance, ms": round(spent, 2),
            "balances carried": rows,
            "carried: CPU, s": round(carried, 2),
        },
    )


def _asked(chance: random.Random, entries: int) -> tuple[datetime, datetime, int]:
    ends = sorted(chance.randrange(DAYS * 96) for _ in range(2))
    since, until = (BEGAN + end * timedelta(minutes=15) for end in ends)
    return since, until, chance.randrange(1, entries // 500 + 1)


async def _ask(connection: OwnConnection, entries: int) -> list[float]:
    took, chance = [], random.Random(entries)
    for _ in range(ASKED):
        since, until, batch_seq = _asked(chance, entries)
        began = time.perf_counter()
        await find_balances(
            connection, entity_id=ENTITY, since=since, until=until, batch_seq=batch_seq
        )
        took.append((time.perf_counter() - began) * 1e3)
    return sorted(took)


async def _prove(connection: OwnConnection, entries: int) -> None:
    """Some of them are what every posting adds up to."""
    chance = random.Random(entries)
    for _ in range(PROVED):
        since, until, batch_seq = _asked(chance, entries)
        found = await find_balances(
            connection, entity_id=ENTITY, since=since, until=until, batch_seq=batch_seq
        )
        rows = await connection.fetch(sql("plain_balances"), ENTITY, since, until, batch_seq)
        plain = {(row[0], row[1]): (row[2] or 0, row[3]) for row in rows}
        carried = {(one.account, one.currency): (one.opening, one.closing) for one in found}
        if carried != plain:
            raise AssertionError(f"{carried} instead of {plain}")
