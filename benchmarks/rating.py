"""What it costs to rate a month of many customers, to find nothing new, and month behind month."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from benchmarks.harness import Figure, median, say
from benchmarks.scale import scaled
from benchmarks.server import Bench, bench_server, sql
from ledger.flows.pricing.rate import rate
from ledger.store.connect import connect
from tests.support.database import Database, execute

CUSTOMERS, KEYS, WINDOWS = 1_000, 10, 4
NOW = datetime(2028, 4, 1, tzinfo=UTC)
# Behind a month that is rated first, and how many at either end are compared.
MONTHS, ENDS = 24, 5
OF_WINDOWS = 10_000
# Beside uncached input: three meters a key.
METERS = {"cache_read": 500, "visible": "100 + k"}


def run() -> list[Figure]:
    """CPU of the stage and of PostgreSQL for each 10,000 windows of a key, rated at once."""
    customers = scaled(CUSTOMERS)
    with bench_server(()) as bench, bench.fresh() as database:
        return asyncio.run(_measure(bench, database, customers))


async def _measure(bench: Bench, database: Database, customers: int) -> list[Figure]:
    size = {"customers": customers, "keys": KEYS, "windows": WINDOWS}
    await execute(database.superuser_url, sql("month").format(**size, **METERS))
    await execute(database.superuser_url, "ANALYZE")
    rated, rows, wall = await _rate(bench, database)
    again, none, _ = await _rate(bench, database)
    windows = customers * KEYS * WINDOWS
    if none:
        raise AssertionError(f"rating again wrote {none} rows")
    behind = [await _rate_next(bench, database, months) for months in range(1, MONTHS + 1)]
    return [
        _flatness(behind, windows),
        Figure(
            name=f"rating a month of {customers:,} customers × {KEYS} keys",
            median=rated * 1e3 * OF_WINDOWS / windows,
            unit=f"ms of CPU for {OF_WINDOWS:,} windows",
            runs=1,
            details={
                "windows": windows,
                "rows written": rows,
                "wall, s": round(wall, 2),
                "CPU, s": round(rated, 2),
                "CPU of a second run, s": round(again, 3),
            },
        ),
    ]


async def _rate_next(bench: Bench, database: Database, months: int) -> float:
    await execute(database.superuser_url, sql("next_month").format(months=months))
    # As PostgreSQL does by itself within a minute: without it BRIN leads nowhere.
    await execute(database.superuser_url, "VACUUM ANALYZE usage_delta")
    cpu_s, rows, _ = await _rate(bench, database)
    if not rows:
        raise AssertionError(f"month {months} was not rated")
    return cpu_s


def _flatness(behind: Sequence[float], windows: int) -> Figure:
    first, last = median(behind[:ENDS]), median(behind[-ENDS:])
    return Figure(
        name=f"rating one more month behind {MONTHS} of them",
        median=last * 1e3 * OF_WINDOWS / windows,
        unit=f"ms of CPU for {OF_WINDOWS:,} windows",
        runs=ENDS,
        compared_against=f"the first {ENDS} of them",
        ratio=last / first,
        reach="≤ 1.15",
        met=last <= 1.15 * first,
        details={"windows a month": windows, "CPU, s": [round(each, 2) for each in behind]},
    )


async def _rate(bench: Bench, database: Database) -> tuple[float, int, float]:
    connection = await connect(database.worker_url)
    try:
        spent, began = time.process_time() + bench.cpu_seconds(), time.perf_counter()
        report = await rate(connection, now=NOW)
        took = time.perf_counter() - began
        cpu_s = time.process_time() + bench.cpu_seconds() - spent
    finally:
        await connection.close()
    say(f"{report.rows_written:,} rows in {took:.2f} s, {cpu_s:.2f} s of CPU")
    return cpu_s, report.rows_written, took
