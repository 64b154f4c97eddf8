"""Tokens that engines counted and no request claims have a line of their own, up to the reports."""

from datetime import timedelta
from decimal import Decimal

import pytest

from ledger.domain.period import DAY
from ledger.flows.books.book_cost import book_cost
from ledger.flows.books.check_books import check_books
from ledger.flows.cost.allocate import allocate
from ledger.reports.cost.margin import MarginReport, margin_report
from ledger.reports.cost.margin_json import to_json
from ledger.store.connect import draw_cut_off
from ledger.store.queries import Connection
from tests.support.books import Books, Buyer, Tokens
from tests.support.one_gpu import GPU, LATER, QUARTER, START, at, lines_of, steady

INSTANCE = "vllm-0"
IN, OUT = "prompt_tokens", "generation_tokens"


async def one_engine(books: Books) -> None:
    """A GPU of 2 EUR an hour that serves one engine, metered over an hour of steady power."""
    await books.entity()
    await books.customer()
    await books.facility()
    await books.pue(START, LATER, pue="1.2")
    await books.tariff([(START, LATER, "100")])
    await books.lease(START, START + 4 * QUARTER, rate="2", all_in=False)
    await books.deployment(START, START + 4 * QUARTER, gpus=[GPU], instances=[INSTANCE])
    await books.readings(GPU, steady(range(0, 3601, 10)))


async def margin(connection: Connection) -> MarginReport:
    return await margin_report(
        connection,
        entity_id="factory",
        since=START,
        until=START + 4 * QUARTER,
        cut_off=await draw_cut_off(connection, "report"),
    )


async def test_what_no_request_claims_is_a_line_of_its_own(worker: Connection) -> None:
    books = Books(worker)
    await one_engine(books)
    await books.usage(START, Tokens(uncached=800), busy=range(900), instance=INSTANCE)
    await books.counters(INSTANCE, [(START, IN, 5_000), (at(900), IN, 6_000)])
    await allocate(worker, now=LATER)
    found = await lines_of(worker, START)
    usage, own = (found[f"deployment:chat/{name}"] for name in ("usage", "unclaimed"))
    energy = 900 * 400_000
    assert (usage["device_metered_mj"], own["device_metered_mj"]) == (energy * 4 // 5, energy // 5)
    assert (usage["gpu_cost"], own["gpu_cost"]) == (Decimal("0.4"), Decimal("0.1"))
    assert "deployment:chat/idle" not in found
    report = await margin(worker)
    assert report.conservation.energy_residual_mj == 0
    assert report.conservation.cost_residual == 0
    assert report.unattributed_cost == own["gpu_cost"] + own["device_cost"] + own["overhead_cost"]
    causes = {(line["line"], line["cause"]) for line in to_json(report)["own_lines"]}
    assert causes == {("idle", "at_rest"), ("unclaimed", "no_request")}
    await book_cost(worker, now=LATER)
    booked = await worker.fetchval("SELECT sum(amount) FROM posting WHERE account = '5900'")
    assert booked == report.unattributed_cost
    proofs = (await check_books(worker)).proofs
    assert not any(proofs.values()), proofs


async def test_a_request_that_comes_late_claims_its_tokens(worker: Connection) -> None:
    books = Books(worker)
    await one_engine(books)
    await books.counters(INSTANCE, [(START, OUT, 0), (at(450), OUT, 400), (at(900), OUT, 1_000)])
    await allocate(worker, now=LATER)
    alone = (await lines_of(worker, START))["deployment:chat/unclaimed"]
    assert alone["device_metered_mj"] == 900 * 400_000
    await books.usage(START, Tokens(output=1_000), busy=range(900), instance=INSTANCE)
    await allocate(worker, now=LATER)
    found = await lines_of(worker, START)
    assert found.keys() == {"deployment:chat/usage"}
    assert (await check_books(worker)).proofs["cost_day"] == 0


async def test_counters_that_come_late_are_due(worker: Connection) -> None:
    books = Books(worker)
    await one_engine(books)
    await books.usage(START, Tokens(uncached=500), busy=range(900), instance=INSTANCE)
    await allocate(worker, now=LATER)
    before = await draw_cut_off(worker, "before")
    await books.counters(INSTANCE, [(START, IN, 0), (at(900), IN, 1_000)])
    assert (await allocate(worker, now=LATER)).rows_written > 0
    assert (await allocate(worker, now=LATER)).rows_written == 0
    half = 900 * 400_000 // 2
    assert (await lines_of(worker, START))["deployment:chat/unclaimed"]["device_metered_mj"] == half
    then = await worker.fetch(
        "SELECT DISTINCT line FROM costs_at($1, 'factory', $2, $3)",
        before.batch_seq,
        START,
        START + DAY,
    )
    assert {row["line"] for row in then} == {"usage", "idle"}


async def test_engines_of_others_and_rounded_or_fallen_counters_claim_nothing(
    worker: Connection,
) -> None:
    books = Books(worker)
    await one_engine(books)
    await books.usage(START, Tokens(uncached=500), busy=range(900), instance=INSTANCE)
    later = at(900)
    await books.counters("elsewhere", [(START, IN, 0), (later, IN, 1_000)])
    await books.counters(INSTANCE, [(START, IN, 10**7), (later, IN, 2 * 10**7)], rounded=True)
    await books.counters(INSTANCE, [(START, OUT, 900), (later, OUT, 100)])
    await allocate(worker, now=LATER)
    assert "deployment:chat/unclaimed" not in await lines_of(worker, START)


async def test_two_who_share_an_engine_claim_together(worker: Connection) -> None:
    books = Books(worker)
    await one_engine(books)
    for agent in ("a", "b"):
        buyer = Buyer(agent_id=agent)
        await books.usage(
            START, Tokens(uncached=400), buyer=buyer, busy=range(900), instance=INSTANCE
        )
    scraped = [START + timedelta(seconds=60 * n) for n in range(16)]
    await books.counters(INSTANCE, [(moment, IN, n * 60) for n, moment in enumerate(scraped)])
    await allocate(worker, now=LATER)
    found = await lines_of(worker, START)
    own = found["deployment:chat/unclaimed"]["device_metered_mj"]
    # Tokens are whole, minute by minute.
    assert own == pytest.approx(900 * 400_000 / 9, rel=0.01)
