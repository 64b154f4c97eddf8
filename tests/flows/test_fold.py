"""Folding merges rows and changes no sum that anybody can ask for again."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ledger.domain.errors import UnavailableError
from ledger.flows.billing.invoice import issue_invoice
from ledger.flows.metering.fold import FoldStep, fold, fold_when_due
from ledger.flows.pricing.rate import rate
from ledger.store.billing import invoice as store
from ledger.store.connect import CutOff, connect, draw_cut_off
from ledger.store.metering.retention import FOLDS, fold_rows, try_lock_fold
from ledger.store.queries import Connection
from tests.flows.test_invoice_trace import AUGUST, SEPTEMBER, on_a_card, pages
from tests.support.books import Books, Buyer, Tokens
from tests.support.database import Database
from tests.support.usage import AUTHOR, Gate, attempt, correction, keyed, open_books

START = datetime(2026, 8, 6, 11, tzinfo=UTC)
BUYERS = (
    Buyer(),
    Buyer(agent_id="bot"),
    Buyer(customer_id=None, customer_ref="who", entity_id=None),
)
FORGOTTEN = ("check", "status", "status over the API", "fold")
SUMS = (
    """SELECT customer_id, usage_key_id, window_start, sum(requests), sum(uncached),
              sum(cache_read), sum(cache_write), sum(visible), sum(reasoning)
         FROM usage_delta WHERE batch_seq <= $1
        GROUP BY 1, 2, 3 ORDER BY 1, 2, 3""",
    """SELECT engine_key_id, window_start, usage_key_id, sum(uncached), sum(cache_read),
              sum(cache_write), sum(output) FROM activity_delta WHERE batch_seq <= $1
        GROUP BY 1, 2, 3
       HAVING sum(uncached) <> 0 OR sum(cache_read) <> 0 OR sum(cache_write) <> 0
           OR sum(output) <> 0
        ORDER BY 1, 2, 3""",
    """SELECT engine_key_id, window_start, bit_or(mask) FROM activity_mask WHERE batch_seq <= $1
        GROUP BY 1, 2 ORDER BY 1, 2""",
)
TABLES = ("usage_delta", "activity_delta", "activity_mask")
FOLDED = ("usage_delta", "activity", "activity_mask")


async def seen(connection: Connection, batch_seq: int) -> list[list[tuple[Any, ...]]]:
    """Every sum as known at a cut-off."""
    return [[tuple(row) for row in await connection.fetch(sql, batch_seq)] for sql in SUMS]


async def count(connection: Connection, table: str = "usage_delta") -> int:
    return int(await connection.fetchval(f"SELECT count(*) FROM {table}"))


async def add_some(books: Books, chance: random.Random) -> None:
    """One batch over a few windows, buyers and engines; some of it is negative."""
    places = [(START + timedelta(minutes=15 * n), buyer) for n in range(3) for buyer in BUYERS]
    rows = [
        (window, Tokens(*(chance.randint(-2, 3) for _ in range(4))), buyer)
        for window, buyer in chance.sample(places, chance.randint(1, 4))
    ]
    busy = chance.sample(range(900), 5)
    await books.usages(rows, instance=chance.choice(["a", "b"]), busy=busy)


@pytest.mark.parametrize("seed", range(8))
async def test_no_fold_changes_a_sum_at_any_kept_cut_off(worker: Connection, seed: int) -> None:
    chance, books = random.Random(seed), Books(worker)
    await books.entity()
    known: list[tuple[CutOff, Any]] = []
    for _ in range(60):
        await add_some(books, chance)
        if chance.random() < 0.2:
            cut_off = await draw_cut_off(worker, chance.choice(["rate", "invoice", "report x"]))
            known.append((cut_off, await seen(worker, cut_off.batch_seq)))
        if chance.random() < 0.1:
            await fold(worker)
            for kept, before in known:
                assert await seen(worker, kept.batch_seq) == before
    now = await draw_cut_off(worker, "report now")
    everything = await seen(worker, now.batch_seq)
    rows = [await count(worker, table) for table in TABLES]
    await fold(worker, every=True)
    for kept, before in [*known, (now, everything)]:
        assert await seen(worker, kept.batch_seq) == before
    after = [await count(worker, table) for table in TABLES]
    assert all(fewer <= more for fewer, more in zip(after, rows, strict=True))
    again = await fold(worker, every=True)
    assert (again.rows_gone, again.rows_come) == (0, 0)


async def test_rows_merge_up_to_a_kept_cut_off_and_never_across_it(worker: Connection) -> None:
    books = Books(worker)
    first = await books.usage(START, Tokens(uncached=1))
    second = await books.usage(START, Tokens(uncached=2))
    await draw_cut_off(worker, "invoice")
    third = await books.usage(START, Tokens(uncached=4))
    fourth = await books.usage(START, Tokens(uncached=8))
    done = await fold(worker)
    assert (done.windows, done.rows_gone, done.rows_come) == (1, 12, 6)
    rows = await worker.fetch(
        "SELECT first_batch_seq, batch_seq, uncached, requests FROM usage_delta ORDER BY batch_seq"
    )
    assert [tuple(row) for row in rows] == [(first, second, 3, 2), (third, fourth, 12, 2)]


async def test_a_folded_row_folds_again_and_keeps_its_first_batch(worker: Connection) -> None:
    books = Books(worker)
    first = await books.usage(START, Tokens(uncached=1))
    await books.usage(START, Tokens(uncached=2))
    await fold(worker)
    last = await books.usage(START, Tokens(uncached=4))
    await fold(worker)
    (row,) = await worker.fetch("SELECT first_batch_seq, batch_seq, uncached FROM usage_delta")
    assert tuple(row) == (first, last, 7)


@pytest.mark.parametrize("purpose", FORGOTTEN)
async def test_a_passing_look_is_kept_for_a_day_and_a_folds_own_not_at_all(
    owner: Connection, worker: Connection, purpose: str
) -> None:
    books = Books(worker)
    await books.usage(START, Tokens(uncached=1))
    await draw_cut_off(worker, purpose)
    await books.usage(START, Tokens(uncached=2))
    await fold(worker, every=True)
    assert await count(worker) == (1 if purpose == "fold" else 2)
    await owner.execute("ALTER TABLE cut_off DISABLE TRIGGER USER")
    await owner.execute("UPDATE cut_off SET drawn_at = drawn_at - interval '25 hours'")
    await fold(worker, every=True)
    assert await count(worker) == 1


async def test_activity_that_came_to_nothing_vanishes_and_usage_keeps_its_way_to_the_facts(
    worker: Connection,
) -> None:
    books = Books(worker)
    await books.usage(START, Tokens(uncached=5, output=2))
    await books.usage(START, Tokens(uncached=-5, output=-2))
    await fold(worker)
    assert [await count(worker, table) for table in TABLES] == [1, 0, 1]


async def test_rows_of_an_open_batch_are_left_alone(database: Database, worker: Connection) -> None:
    books = Books(worker)
    await books.usage(START, Tokens(uncached=1))
    other = await connect(database.worker_url)
    transaction = other.transaction()
    await transaction.start()
    await other.fetchval("SELECT draw_batch_seq()")
    await books.usage(START, Tokens(uncached=2))
    await fold(worker)
    assert await count(worker) == 2
    await transaction.rollback()
    await other.close()
    await fold(worker)
    assert await count(worker) == 1


async def test_no_step_runs_while_a_cut_off_is_drawn_and_not_committed(
    database: Database, worker: Connection
) -> None:
    books = Books(worker)
    await books.usage(START, Tokens(uncached=1))
    other = await connect(database.worker_url)
    transaction = other.transaction()
    await transaction.start()
    held = await draw_cut_off(other, "invoice")
    await books.usage(START, Tokens(uncached=2))
    with pytest.raises(UnavailableError):
        await fold(worker, step=FoldStep(tries=2))
    before = await seen(other, held.batch_seq)
    await transaction.commit()
    await other.close()
    await fold(worker)
    assert await seen(worker, held.batch_seq) == before
    assert await count(worker) == 2


async def test_two_folds_at_once_count_nothing_twice(
    database: Database, worker: Connection
) -> None:
    chance, books = random.Random(1), Books(worker)
    for _ in range(40):
        await add_some(books, chance)
    now = await draw_cut_off(worker, "report")
    before = await seen(worker, now.batch_seq)
    others = [await connect(database.worker_url) for _ in range(3)]
    await asyncio.gather(*(fold(each, every=True) for each in others))
    assert await seen(worker, now.batch_seq) == before
    for each in others:
        await each.close()


@pytest.mark.parametrize("delay_ms", [0, 2, 5, 10, 20, 40])
async def test_a_fold_that_is_ended_anywhere_loses_nothing(
    database: Database, worker: Connection, delay_ms: int
) -> None:
    chance, books = random.Random(2), Books(worker)
    for _ in range(40):
        await add_some(books, chance)
    now = await draw_cut_off(worker, "report")
    before = await seen(worker, now.batch_seq)
    other = await connect(database.worker_url)
    pid = other.get_server_pid()
    # Connecting takes as long as the fold may.
    ender = await connect(database.superuser_url)
    under_way = asyncio.create_task(fold(other, every=True, step=FoldStep(windows=1, rows=4)))
    await asyncio.sleep(delay_ms / 1000)
    await ender.execute("SELECT pg_terminate_backend($1)", pid)
    await ender.close()
    ended = await asyncio.gather(under_way, return_exceptions=True)
    other.terminate()
    assert delay_ms > 2 or isinstance(ended[0], Exception)
    assert await seen(worker, now.batch_seq) == before
    await fold(worker, every=True)
    assert await seen(worker, now.batch_seq) == before


async def test_ingest_goes_on_while_a_step_holds_its_rows(
    database: Database, worker: Connection
) -> None:
    books = Books(worker)
    await books.usage(START, Tokens(uncached=1))
    await books.usage(START, Tokens(uncached=2))
    cut_off = await draw_cut_off(worker, "fold")
    other = await connect(database.worker_url)
    async with other.transaction():
        await try_lock_fold(other)
        for name in FOLDS:
            await fold_rows(other, name, windows=[START], batch_seq=cut_off.batch_seq, most=10)
        async with asyncio.timeout(5):
            await books.usage(START, Tokens(uncached=4))
    await other.close()
    assert await worker.fetchval("SELECT sum(uncached) FROM usage_delta") == 7


async def test_a_line_leads_to_all_its_events_after_a_fold(worker: Connection) -> None:
    await open_books(worker)
    gate = Gate(worker)
    await on_a_card(worker, "acme")
    for n in range(6):
        await gate.send(keyed(attempt(f"e{n}", minute=n, tokens=10 + n)))
        await gate.send(keyed(attempt(f"x{n}", minute=n, customer_id="nobody-knows")))
    moved = correction("c1", of="e1", revision=1, minute=1, tokens=9, served_model="other")
    await gate.send(keyed(moved))
    issued = await issue_invoice(
        worker, subscription_id="sub-acme", moment=AUGUST, now=SEPTEMBER, author=AUTHOR
    )
    (invoice,) = await store.list_invoices(worker)
    cut_off = invoice.cut_off_seq
    lines = await store.list_lines(worker, invoice_id=issued.invoice_id)
    before = [await pages(worker, line, cut_off, 3) for line in lines]
    done = await fold(worker, every=True)
    assert done.rows_gone > done.rows_come
    await rate(worker, now=SEPTEMBER)
    assert all(before)
    assert [await pages(worker, line, cut_off, 3) for line in lines] == before


async def test_a_fold_is_due_when_the_last_is_old_enough(worker: Connection) -> None:
    first = await fold_when_due(worker, now=START, every_s=60)
    assert first is not None
    finished = await worker.fetchval("SELECT max(finished_at) FROM stage_run")
    soon = finished + timedelta(seconds=59)
    assert await fold_when_due(worker, now=soon, every_s=60) is None
    assert await fold_when_due(worker, now=soon + timedelta(seconds=1), every_s=60) is not None


async def test_facts_stay_append_only_for_the_worker(worker: Connection) -> None:
    may = "SELECT has_table_privilege('tokenledger_worker', $1, 'DELETE')"
    assert [await worker.fetchval(may, table) for table in FOLDED] == [True, True, True]
    for table in ("usage_fact", "gpu_reading", "counter_reading", "charge"):
        assert not await worker.fetchval(may, table)
