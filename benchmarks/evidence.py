"""The events behind one customer's day, found among ten million: how long, and how much is read."""

import asyncio
import time
from typing import Any

from benchmarks.harness import Figure, median
from benchmarks.scale import RUNS, scaled
from benchmarks.server import bench_server, sql
from ledger.domain.billing.invoice import InvoiceLine, LineKey
from ledger.domain.money import ZERO
from ledger.store.billing.trace import trace_events
from ledger.store.connect import connect
from ledger.store.queries import Connection, load_queries
from tests.support.database import Database
from tests.support.history import History, make_history
from tests.support.plans import Plan, explain

FACTS = 10_000_000
DAYS, BATCHES, CUSTOMERS = 10, 1_000, 100
# A day that is over has an index by key; of the open one as much is read as was stored on it.
DAY_KINDS = {"a day that is over": (4, 0.05), "the open day": (DAYS - 1, 0.15)}
CUSTOMER = "c-7"
KEY: dict[str, Any] = {
    **{"model": "m-1", "tier": "standard", "adapter": "", "region": "", "context_band": 0},
    **{"meter": "input_uncached", "price_id": 1},
}


def run() -> list[Figure]:
    """Milliseconds to the first thousand events of an invoice line of one day, by kind of day."""
    size = scaled(FACTS, DAYS * BATCHES) // (DAYS * BATCHES)
    history = History(days=DAYS, batches=BATCHES, facts=size, customers=CUSTOMERS)
    with bench_server(()) as bench, bench.fresh() as database:
        return asyncio.run(_measure(database, history))


async def _measure(database: Database, history: History) -> list[Figure]:
    await make_history(database, history)
    connection = await connect(database.worker_url)
    try:
        return [
            await _figure(connection, history, kind, day=day, reach=reach)
            for kind, (day, reach) in DAY_KINDS.items()
        ]
    finally:
        await connection.close()


async def _figure(
    connection: Connection, history: History, kind: str, *, day: int, reach: float
) -> Figure:
    last = history.days * history.batches
    since, until = history.midnight(day), history.midnight(day + 1)
    line = InvoiceLine("usage", LineKey(since, until, **KEY), 0, ZERO, ZERO)
    took = []
    for _ in range(RUNS + 1):
        began = time.perf_counter()
        await trace_events(connection, line=line, customer_id=CUSTOMER, batch_seq=last)
        took.append((time.perf_counter() - began) * 1e3)
    asked = {name: value for name, value in KEY.items() if name != "price_id"}
    asked |= {"customer_id": CUSTOMER, "since": since, "until": until}
    asked |= {"span_sinces": [since], "span_untils": [until]}
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
