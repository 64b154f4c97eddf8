"""What it costs to rate, book and invoice a month of many customers, and whether that is linear."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from benchmarks.harness import Figure, say
from benchmarks.scale import scaled
from benchmarks.server import AUTHOR, Bench, bench_server, sql
from ledger.flows.billing.run import RunAsk, run_invoices
from ledger.flows.books.book_revenue import book_revenue
from ledger.flows.pricing.rate import rate
from ledger.store.connect import connect
from ledger.store.queries import OwnConnection
from ledger.stream.memory import collect_rarely
from tests.support.database import Database, execute

KEYS, WINDOWS = 10, 4
# Each key has one line for each meter that was used: of these, one.
CUSTOMERS = tuple(map(int, os.environ.get("BENCH_CUSTOMERS", "1000,10000,100000").split(",")))
NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)
MARCH = datetime(2026, 3, 10, tzinfo=UTC)
T = TypeVar("T")


def run() -> list[Figure]:
    """CPU of the ledger and of PostgreSQL for each customer of ten lines, from usage to invoice."""
    figures: list[Figure] = []
    for customers in map(scaled, CUSTOMERS):
        with bench_server(()) as bench, bench.fresh() as database:
            figures += asyncio.run(_measure(bench, database, customers))
    return figures


async def _measure(bench: Bench, database: Database, customers: int) -> list[Figure]:
    collect_rarely()
    size = {"customers": customers, "keys": KEYS, "windows": WINDOWS}
    # One meter a key, so that a key is a line.
    await execute(database.superuser_url, sql("month").format(**size, cache_read=0, visible=0))
    await execute(database.superuser_url, sql("parties"))
    await execute(database.superuser_url, "VACUUM ANALYZE")
    connection = await connect(database.worker_url)
    details: dict[str, object] = {}

    async def timed(what: str, work: Callable[[], Awaitable[T]]) -> tuple[float, float, T]:
        spent, began = time.process_time() + bench.cpu_seconds(), time.perf_counter()
        found = await work()
        wall = time.perf_counter() - began
        cpu = time.process_time() + bench.cpu_seconds() - spent
        details[f"{what}: wall, s"] = round(wall, 2)
        details[f"{what}: CPU, s"] = round(cpu, 2)
        details[f"{what}: CPU a customer, ms"] = round(cpu * 1e3 / customers, 3)
        say(f"{what}: {wall:.2f} s, {cpu:.2f} s of CPU, {cpu * 1e3 / customers:.2f} ms a customer")
        return cpu, wall, found

    try:
        rated = await timed("rate", lambda: rate(connection, now=NOW))
        booked = await timed("book", lambda: book_revenue(connection, now=NOW))
        ask = RunAsk("month", MARCH, NOW, AUTHOR)
        issued = await timed("invoice", lambda: run_invoices(connection, ask))
        again = await timed("run again", lambda: run_invoices(connection, ask))
        lines = await _lines(connection)
    finally:
        await connection.close()
    if (issued[2].issued, again[2].issued, lines) != (customers, 0, customers * KEYS):
        raise AssertionError(f"{issued[2]} {lines} lines, then {again[2]}")
    parts = (rated, booked, issued)
    wall = sum(part[1] for part in parts)
    whole = Figure(
        name=f"a month of {customers:,} customers × {KEYS} lines rated, booked and invoiced",
        median=sum(part[0] for part in parts) * 1e3 / customers,
        unit="ms of CPU a customer",
        runs=1,
        reach="100,000 in 60 s" if customers >= 100_000 else "",
        met=wall < 60 if customers >= 100_000 else None,
        details={"wall of all three, s": round(wall, 2), **details},
    )
    return [whole, _rating(customers, rated[0], rated[1])]


def _rating(customers: int, cpu: float, wall: float) -> Figure:
    is_asked = customers >= 100_000
    return Figure(
        name=f"rating a month of {customers:,} customers × {KEYS} keys for the first time",
        median=wall,
        unit="s",
        runs=1,
        reach="≤ 15 s" if is_asked else "",
        met=wall <= 15 if is_asked else None,
        details={"CPU, s": round(cpu, 2), "windows": customers * KEYS * WINDOWS},
    )


async def _lines(connection: OwnConnection) -> int:
    return int(await connection.fetchval(sql("count_lines")))
