"""How long a month's revenue by customer takes of very many customers, from their charges."""

import asyncio
import time
from datetime import UTC, datetime

from benchmarks.harness import Figure, median, say
from benchmarks.scale import scaled
from benchmarks.server import Bench, bench_server, sql
from ledger.flows.pricing.rate import rate
from ledger.reports.grouped import CHARGES, Grouping
from ledger.store.connect import connect, draw_cut_off
from ledger.store.queries import OwnConnection
from tests.support.database import Database, execute

CUSTOMERS, KEYS, WINDOWS = 10_000, 10, 4
ASKED = 5
ZONE = "Europe/Copenhagen"
# March there, and behind it.
SINCE, UNTIL = datetime(2026, 2, 28, 23, tzinfo=UTC), datetime(2026, 3, 31, 22, tzinfo=UTC)
REACH_S = 1.0


def run() -> list[Figure]:
    """The median of several, each all customers at once as the command line reads them."""
    with bench_server(()) as bench, bench.fresh() as database:
        return [asyncio.run(_measure(bench, database, scaled(CUSTOMERS)))]


async def _measure(bench: Bench, database: Database, customers: int) -> Figure:
    size = {"customers": customers, "keys": KEYS, "windows": WINDOWS}
    await execute(database.superuser_url, sql("month").format(**size, cache_read=0, visible=0))
    await execute(database.superuser_url, "VACUUM ANALYZE")
    connection = await connect(database.worker_url)
    try:
        await rate(connection, now=UNTIL)
        await execute(database.superuser_url, "VACUUM ANALYZE")
        spent = time.process_time() + bench.cpu_seconds()
        took = [await _ask(connection, customers) for _ in range(ASKED)]
        spent = (time.process_time() + bench.cpu_seconds() - spent) / ASKED
    finally:
        await connection.close()
    say(f"{median(took):.2f} s, {spent:.2f} s of CPU")
    return Figure(
        f"a month's revenue by customer of {customers:,} customers",
        median(took),
        "s",
        ASKED,
        reach=f"< {REACH_S:g} s",
        met=median(took) < REACH_S,
        details={"charges": customers * KEYS * WINDOWS, "CPU, s": round(spent, 2)},
    )


async def _ask(connection: OwnConnection, customers: int) -> float:
    began = time.perf_counter()
    cut_off = await draw_cut_off(connection, "benchmark")
    grouping = Grouping(
        CHARGES, ("customer",), SINCE, UNTIL, cut_off, entity_id="month", zone_name=ZONE
    )
    rows, _ = await grouping.page(connection, customers)
    took = time.perf_counter() - began
    if len(rows) != customers or not all(row["amount"] for row in rows):
        raise AssertionError(f"{len(rows)} rows")
    return took
