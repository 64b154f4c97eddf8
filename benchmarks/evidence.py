"""The events behind one customer's day, found among ten million, in rows and merged: how long, and
how much of the rows is read."""

import asyncio
import time
from datetime import datetime
from typing import Any

from benchmarks.harness import Figure, median
from benchmarks.scale import RUNS, scaled
from benchmarks.server import bench_server, sql
from ledger.domain.billing.invoice import InvoiceLine, LineKey
from ledger.domain.money import ZERO
from ledger.flows.metering.find_facts import trace_line
from ledger.flows.metering.merge import MergeSizes, merge
from ledger.store.billing.trace import find_runs
from ledger.store.connect import connect
from ledger.store.queries import Connection, load_queries
from tests.support.database import Database, execute
from tests.support.history import History, make_history
from tests.support.plans import Plan, explain

FACTS = 10_000_000
DAYS, BATCHES, CUSTOMERS = 10, 1_000, 100
# A day that is over has an index by key; of the open one as much is read as was stored on it.
DAY_KINDS = {"a day that is over": (4, 0.05), "the open day": (DAYS - 1, 0.15)}
MERGED_MS = {"a day that is over": 20, "the open day": 100}
CUSTOMER = "c-7"
KEY: dict[str, Any] = {
    **{"model": "m-1", "tier": "standard", "adapter": "", "region": "", "context_band": 0},
    **{"meter": "input_uncached", "price_id": 1},
}


def run() -> list[Figure]:
    """Milliseconds to the first thousand events of an invoice line of one day, by kind of day."""
    size = scaled(FACTS, DAYS * BATCHES) // (DAYS * BATCHES)
    # Who looks for facts asks for nothing beside them, and to make it takes as long as they do.
    history = History(days=DAYS, batches=BATCHES, facts=size, customers=CUSTOMERS, beside=False)
    with bench_server(()) as bench, bench.fresh() as database:
        return asyncio.run(_measure(database, history))


async def _measure(database: Database, history: History) -> list[Figure]:
    await make_history(database, history)
    connection = await connect(database.worker_url)
    try:
        rows = [
            await _figure(connection, history, kind, day=day, reach=reach)
            for kind, (day, reach) in DAY_KINDS.items()
        ]
        began = time.perf_counter()
        done = await merge(
            connection, today=history.midnight(DAYS).date(), sizes=MergeSizes(open_day=1)
        )
        seconds = time.perf_counter() - began
        # As autovacuum does within minutes: rows that are merged stand in the way until then.
        await execute(database.superuser_url, "VACUUM (ANALYZE)")
        return rows + [
            await _merged_figure(connection, history, kind, done.facts / seconds)
            for kind in DAY_KINDS
        ]
    finally:
        await connection.close()


async def _merged_figure(
    connection: Connection, history: History, kind: str, merged_per_s: float
) -> Figure:
    day, reach = DAY_KINDS[kind][0], MERGED_MS[kind]
    took = await _trace(connection, history, day)
    last = history.days * history.batches
    return Figure(
        name=f"one customer's day among {last * history.facts:,} merged facts, {kind}",
        median=median(took[1:]),
        unit="ms",
        runs=RUNS,
        compared_against="",
        ratio=None,
        reach=f"≤ {reach} ms",
        met=median(took[1:]) <= reach,
        details={
            "first call, ms": round(took[0], 1),
            "facts sealed and merged a second": round(merged_per_s),
        },
    )


async def _trace(connection: Connection, history: History, day: int) -> list[float]:
    """Milliseconds of each call; the first fills what is kept of plans and pages."""
    line, last = _line(history, day), history.days * history.batches
    took = []
    for _ in range(RUNS + 1):
        began = time.perf_counter()
        await trace_line(connection, line=line, customer_id=CUSTOMER, batch_seq=last)
        took.append((time.perf_counter() - began) * 1e3)
    return took


def _line(history: History, day: int) -> InvoiceLine:
    return InvoiceLine("usage", LineKey(*_period(history, day), **KEY), 0, ZERO, ZERO)


def _period(history: History, day: int) -> tuple[datetime, datetime]:
    return history.midnight(day), history.midnight(day + 1)


async def _figure(
    connection: Connection, history: History, kind: str, *, day: int, reach: float
) -> Figure:
    last = history.days * history.batches
    since, until = _period(history, day)
    took = await _trace(connection, history, day)
    line = _line(history, day)
    runs = await find_runs(connection, line=line, customer_id=CUSTOMER, batch_seq=last)
    asked: dict[str, object] = {"usage_key_ids": [run.usage_key_id for run in runs]}
    asked |= {"customer_id": CUSTOMER, "since": since, "until": until}
    asked |= {"sinces": [run.since for run in runs], "untils": [run.until for run in runs]}
    plan = await _plan(connection, asked, last)
    whole = await _fact_pages(connection)
    read = plan.heap_pages("usage_fact")
    ratio = read / whole
    return Figure(
        name=f"one customer's day among {last * history.facts:,} facts, {kind}",
        median=median(took[1:]),
        unit="ms",
        runs=RUNS,
        compared_against="pages of all facts",
        ratio=ratio,
        reach=f"≤ {reach}",
        met=ratio <= reach,
        details={
            "events found": plan.rows,
            "facts looked at": sum(plan.read_rows("usage_fact").values()),
            "pages of facts read": read,
            "pages read in all": plan.pages,
            "pages of all facts": whole,
            "first call, ms": round(took[0], 1),
        },
    )


async def _plan(connection: Connection, given: dict[str, Any], batch_seq: int) -> Plan:
    given = given | {"batch_seq": batch_seq, "after_seq": 0, "after_ordinal": -1, "limit": FACTS}
    return await explain(connection, load_queries("billing/invoice")["trace_events"], **given)


async def _fact_pages(connection: Connection) -> int:
    return int(await connection.fetchval(sql("fact_pages")))
