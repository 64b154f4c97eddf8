"""How long a reservation takes, how many there are a second, and a thousand at once on one budget.

Asked of the desk that answers `POST /v1/reservations`, on a durable server: an answer is on disk.
What the request itself costs over HTTP is measured elsewhere.
"""

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.harness import Figure, median, say
from benchmarks.latency import percentile
from benchmarks.scale import RUNS, SCALE, scaled
from benchmarks.server import AUTHOR, Bench, bench_server, sql
from ledger.api.reservation_desk import CALLS_MAX, ReservationDesk
from ledger.domain.billing.reservation import Ask
from ledger.domain.errors import OverBudgetError
from ledger.flows.reference.enter import enter_rate_card, enter_subscription
from ledger.flows.reference.enter_budget import enter_budget
from ledger.flows.reference.parties import enter_customer
from ledger.store.connect import connect, open_pool
from ledger.stream.memory import collecting_rarely
from ledger.wire.budget_inputs import NewBudget
from ledger.wire.inputs import NewSubscription, read_input
from ledger.wire.party_inputs import NewCustomer
from ledger.wire.price_inputs import NewRateCard
from tests.support.database import Database

CUSTOMERS, AT_ONCE = 200, 1_000
RATE, SECONDS = 500, max(2, round(10 * min(SCALE, 1)))
IN_FLIGHT, IN_ALL = 64, scaled(20_000)
REACH_MS, REACH_RATE = 5.0, 2_000
TOKENS, MICROS, COMMITS = 500, 7_000, 300
SINCE = {"valid_from": "2020-01-01T00:00:00Z"}
_ids = itertools.count()


@dataclass(frozen=True, slots=True)
class Run:
    """What one run took: milliseconds at 500/s and of a bare commit, reservations a second, seconds
    for 1,000."""

    paced_ms: Sequence[float]
    rate: float
    at_once_s: float
    commit_ms: Sequence[float]


def run() -> list[Figure]:
    """The 99th percentile at 500/s, the top rate, and a thousand at once, medians over the runs."""
    with bench_server([f"c-{n}" for n in range(CUSTOMERS)]) as bench:
        runs = [_measure(bench) for _ in range(RUNS + 1)][1:]
    p99 = median([percentile(each.paced_ms, 99) for each in runs])
    rate = median([each.rate for each in runs])
    details = {"customers": CUSTOMERS, "budgets each": 2, "unit": "money, by 6 prices"}
    return [
        Figure(
            f"reservation, p99 at {RATE}/s",
            p99,
            "ms",
            len(runs),
            reach=f"< {REACH_MS:g} ms",
            met=p99 < REACH_MS,
            details=details
            | {
                "p50, ms": _middle([each.paced_ms for each in runs], 50),
                "a bare commit, p50, ms": _middle([each.commit_ms for each in runs], 50),
                "a bare commit, p99, ms": _middle([each.commit_ms for each in runs], 99),
            },
        ),
        Figure(
            "reservations in all",
            rate,
            "a second",
            len(runs),
            reach=f">= {REACH_RATE:,}",
            met=rate >= REACH_RATE,
            details=details | {"at a time": IN_FLIGHT},
        ),
        Figure(
            f"{AT_ONCE:,} reservations at once on one budget",
            median([each.at_once_s for each in runs]) * 1e3,
            "ms until the last",
            len(runs),
            details={"granted": "exactly what fits, in every run"},
        ),
    ]


def _middle(runs: Sequence[Sequence[float]], percent: int) -> float:
    return round(median([percentile(each, percent) for each in runs]), 2)


def _measure(bench: Bench) -> Run:
    # Garbage is looked for as in the process that answers reservations.
    with bench.fresh() as database, collecting_rarely():
        found = asyncio.run(_run(database))
    say(
        f"p99 {percentile(found.paced_ms, 99):.2f} ms at {RATE}/s, {found.rate:,.0f}/s in all,"
        f" {AT_ONCE:,} at once in {found.at_once_s * 1e3:.0f} ms,"
        f" a bare commit {percentile(found.commit_ms, 50):.2f} ms, p99"
        f" {percentile(found.commit_ms, 99):.2f} ms"
    )
    return found


async def _run(database: Database) -> Run:
    await _enter(database)
    async with open_pool(database.worker_url, size=CALLS_MAX, leaves_nothing=True) as pool:
        desk = ReservationDesk(pool)
        await _many(desk, 500)
        paced = await _paced(desk)
        began = time.perf_counter()
        await _many(desk, IN_ALL)
        rate = IN_ALL / (time.perf_counter() - began)
        at_once = await _at_once(desk)
        return Run(paced, rate, at_once, await _commits(database))


async def _commits(database: Database) -> list[float]:
    """What the disk takes for a transaction that does nothing, one after the other."""
    took = []
    async with open_pool(database.superuser_url, size=1) as pool, pool.acquire() as connection:
        for _ in range(COMMITS):
            began = time.perf_counter()
            await connection.fetchval(sql("bare_commit"))
            took.append((time.perf_counter() - began) * 1e3)
    return sorted(took)


def _ask(customer: str) -> Ask:
    said = {"model": "llama", "requests": 1, "input_tokens_max": TOKENS}
    said |= {"output_tokens_max": TOKENS, "expires_in_s": 600}
    return Ask(f"r-{next(_ids)}", customer, said, 600, "bench")


async def _paced(desk: ReservationDesk) -> list[float]:
    took: list[float] = []

    async def one(number: int, start: float) -> None:
        await asyncio.sleep(max(0.0, start + number / RATE - time.perf_counter()))
        began = time.perf_counter()
        await desk.reserve(_ask(f"c-{number % CUSTOMERS}"))
        took.append((time.perf_counter() - began) * 1e3)

    start = time.perf_counter() + 0.1
    await asyncio.gather(*(one(number, start) for number in range(RATE * SECONDS)))
    return sorted(took)


async def _many(desk: ReservationDesk, count: int) -> None:
    numbers = iter(range(count))

    async def some() -> None:
        for number in numbers:
            await desk.reserve(_ask(f"c-{number % CUSTOMERS}"))

    await asyncio.gather(*(some() for _ in range(IN_FLIGHT)))


async def _at_once(desk: ReservationDesk) -> float:
    began = time.perf_counter()
    asked = [desk.reserve(_ask("one")) for _ in range(AT_ONCE)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    took = time.perf_counter() - began
    refused = sum(isinstance(each, OverBudgetError) for each in answers)
    if refused != AT_ONCE // 2 or len(answers) != AT_ONCE:
        raise AssertionError(f"{refused} of {AT_ONCE} were refused, half of them fit")
    return took


async def _enter(database: Database) -> None:
    connection = await connect(database.worker_url)
    try:
        one = {"customer_id": "one", "entity_id": "factory", "name": "one"}
        await enter_customer(connection, read_input(NewCustomer, one), AUTHOR)
        prices = [
            {"meter": meter, "amount": amount, **model, **SINCE}
            for meter, amount in (("input", "4"), ("cached_input", "1"), ("output", "10"))
            for model in ({}, {"model": "llama"})
        ]
        card = {"rate_card_id": "list", "entity_id": "factory", "name": "L", "currency": "EUR"}
        await enter_rate_card(
            connection, read_input(NewRateCard, card | {"prices": prices}), AUTHOR
        )
        for customer in [*(f"c-{n}" for n in range(CUSTOMERS)), "one"]:
            said = {"subscription_id": f"s-{customer}", "customer_id": customer}
            new = said | {"rate_card_id": "list", **SINCE}
            await enter_subscription(connection, read_input(NewSubscription, new), AUTHOR)
            half = MICROS * AT_ONCE // 2 if customer == "one" else 10**15 - 1
            for period, amount in (("ever", f"{half / 1e6:.6f}"), ("month", "1000000000")):
                budget = {"budget_id": f"{customer}-{period}", "customer_id": customer, **SINCE}
                budget |= {"period": period, "unit": "money", "amount": amount}
                await enter_budget(connection, read_input(NewBudget, budget), AUTHOR)
    finally:
        await connection.close()
