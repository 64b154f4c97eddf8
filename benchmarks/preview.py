"""How long a preview takes of a month of a million events, by keys and by months billed before."""

import asyncio
import time
from datetime import UTC, datetime

from benchmarks.harness import Figure, median, say
from benchmarks.latency import percentile
from benchmarks.server import AUTHOR, Bench, bench_server, sql
from ledger.flows.billing.invoice import preview_invoice
from ledger.flows.billing.run import RunAsk, run_invoices
from ledger.flows.pricing.rate import rate
from ledger.store.connect import connect
from ledger.store.queries import OwnConnection
from tests.support.database import Database, execute

KEYS = (3, 12, 100)
EVENTS = 1_000_000
ASKED = 100
# Whole months in UTC, the last of which is previewed.
MONTHS = [datetime(2025 + (8 + n) // 12, (8 + n) % 12 + 1, 1, tzinfo=UTC) for n in range(8)]
REACH_MS = 100
BESIDE = 200


def run() -> list[Figure]:
    """The 99th percentile of previews, of a first month and of one after six that were billed."""
    figures = []
    for billed in (0, 6):
        for keys in KEYS:
            with bench_server(()) as bench, bench.fresh() as database:
                figures.append(asyncio.run(_measure(bench, database, keys, billed)))
    return figures


async def _measure(bench: Bench, database: Database, keys: int, billed: int) -> Figure:
    url = database.superuser_url
    # Others are there as well, with a month of their own.
    size = {"customers": BESIDE, "keys": keys, "windows": 4, "cache_read": 0, "visible": 0}
    await execute(url, sql("month").format(**size))
    await execute(url, sql("parties"))
    connection = await connect(database.worker_url)
    try:
        for since, until in zip(MONTHS[-2 - billed : -2], MONTHS[-1 - billed : -1], strict=True):
            await _use(database, keys, (since, until), every="6 hours")
            await run_invoices(connection, RunAsk("month", since, until, AUTHOR))
        await _use(database, keys, (MONTHS[-2], MONTHS[-1]), every="15 minutes")
        await execute(url, "VACUUM ANALYZE")
        await rate(connection, now=MONTHS[-1])
        await execute(url, "VACUUM ANALYZE")
        took = await _preview(connection, billed)
        spent = bench.cpu_seconds()
        await _preview(connection, billed)
        spent = (bench.cpu_seconds() - spent) * 1e3 / ASKED
    finally:
        await connection.close()
    p99 = percentile(took, 99)
    say(f"{keys} keys, {billed} months billed: p99 {p99:.1f} ms, {spent:.1f} ms of PostgreSQL")
    after = f" after {billed} billed months" if billed else ""
    return Figure(
        f"preview of a month of {EVENTS:,} events under {keys} keys{after}",
        p99,
        "ms, p99",
        ASKED,
        reach=f"< {REACH_MS} ms",
        met=p99 < REACH_MS,
        details={"p50, ms": round(median(took), 2), "CPU of PostgreSQL, ms": round(spent, 2)},
    )


async def _use(
    database: Database, keys: int, month: tuple[datetime, datetime], *, every: str
) -> None:
    since, until = month
    windows = (until - since).days * (96 if every == "15 minutes" else 4) * keys
    size = {"keys": keys, "since": since, "until": until, "every": every}
    text = sql("busy_customer").format(requests=max(1, EVENTS // windows), **size)
    await execute(database.superuser_url, text)


async def _preview(connection: OwnConnection, billed: int) -> list[float]:
    took: list[float] = []
    while len(took) < ASKED:
        began = time.perf_counter()
        draft = await preview_invoice(
            connection, subscription_id="s-1", moment=MONTHS[-2], now=MONTHS[-1]
        )
        took.append((time.perf_counter() - began) * 1e3)
        if not draft.lines or draft.marks["reasoning_unknown"] < draft.marks["requests"] // 2:
            raise AssertionError(f"{billed}: {len(draft.lines)} lines, {draft.marks}")
    return sorted(took)
