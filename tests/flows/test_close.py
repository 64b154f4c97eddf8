"""Months close in order; what is booked for one stands, and what comes late is told apart."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from ledger.domain.author import Author
from ledger.domain.errors import ConflictError, InvalidInputError
from ledger.flows.billing.invoice import issue_invoice
from ledger.flows.books.check_books import check_books
from ledger.flows.books.close_month import ChangedMonth, close_month, read_months, reopen_month
from ledger.flows.settle import settle
from ledger.reports.books.export import BooksOf, export_file
from ledger.store.books.balances import find_balances
from ledger.store.books.check_books import prove
from ledger.store.connect import connect, draw_cut_off
from ledger.store.queries import Connection
from tests.flows.billing import AUTHOR, DECEMBER, NOVEMBER, WINDOW, subscribed
from tests.support.books import Books, Buyer, Tokens
from tests.support.database import Database

LATER = datetime(2024, 3, 5, tzinfo=UTC)
MILLION = Tokens(uncached=1_000_000)
ENTRY = """INSERT INTO journal_entry (entity_id, kind, natural_key, revision, booked_for,
                                      cut_off_id, batch_seq, description)
           VALUES ('factory', 'x', 'x', 1, $1, 1, 1, 'x')"""
BECAUSE = Author("cli:test", "the meter was wrong", "req-2")


async def closed(connection: Connection, month: str, **how: Any) -> ChangedMonth:
    told: dict[str, Any] = {"entity_id": "factory", "now": LATER, "author": AUTHOR}
    told["accept"] = ("uninvoiced",)
    return await close_month(connection, month=month, **(told | how))


async def reopened(connection: Connection, month: str) -> ChangedMonth:
    return await reopen_month(
        connection, entity_id="factory", month=month, now=LATER, author=BECAUSE
    )


async def with_november(worker: Connection) -> Books:
    books = await subscribed(worker)
    await books.usage(WINDOW, MILLION)
    await settle(worker, now=LATER)
    return books


async def revenue(connection: Connection) -> list[tuple[Any, ...]]:
    rows = await connection.fetch(
        """SELECT e.booked_for, e.corrects, e.natural_key, e.revision, -p.amount
             FROM journal_entry e JOIN posting p USING (entry_id) WHERE p.account = '4000'
            ORDER BY 1, 3, 4"""
    )
    return [tuple(row) for row in rows]


async def test_late_usage_of_a_closed_month_is_booked_in_the_next_and_names_its_day(
    worker: Connection,
) -> None:
    books = await with_november(worker)
    await closed(worker, "2023-11")
    await books.usage(WINDOW, MILLION)
    await settle(worker, now=LATER)
    day, key = WINDOW.replace(hour=0, minute=0), "revenue:factory:2023-11-16T00:00Z"
    assert await revenue(worker) == [
        (day, None, key, 1, Decimal(5)),
        (DECEMBER, day, key, 2, Decimal(5)),
    ]
    assert (await check_books(worker)).differences == []


async def test_the_database_refuses_an_entry_and_a_line_of_a_closed_month_whoever_asks(
    worker: Connection, owner: Connection
) -> None:
    await with_november(worker)
    await closed(worker, "2023-11")
    lines = """INSERT INTO posting (entry_id, line_no, account, amount, currency)
               SELECT min(entry_id), 90 + n, '4000', 3 - 2 * n, 'USD'
                 FROM journal_entry, generate_series(1, 2) n GROUP BY n"""
    last = DECEMBER.replace(month=11, day=30, hour=23, minute=45)
    for connection in (worker, owner):
        for text, given in ((ENTRY, [last]), (ENTRY, [WINDOW.replace(year=2020)]), (lines, [])):
            with pytest.raises(asyncpg.CheckViolationError, match="closed until"):
                await connection.execute(text, *given)
    await worker.execute(ENTRY, DECEMBER)


async def test_who_books_while_a_month_closes_is_waited_for_or_books_after_it(
    worker: Connection, database: Database
) -> None:
    books = await with_november(worker)
    other = await connect(database.worker_url)
    try:
        booking = other.transaction()
        await booking.start()
        await other.execute(
            "SELECT pg_advisory_xact_lock_shared(lock_class('months'), hashtext('factory'))"
        )
        asked = asyncio.create_task(closed(worker, "2023-11"))
        await asyncio.sleep(0.3)
        assert not asked.done()
        await other.execute(ENTRY, WINDOW)
        await booking.commit()
        assert (await asked).lines == 2
        await books.usage(WINDOW, MILLION)
        await settle(other, now=LATER)
        assert (await revenue(worker))[-1][0] == DECEMBER
    finally:
        await other.close()


async def test_months_close_in_order_and_none_that_is_not_over(worker: Connection) -> None:
    await with_november(worker)
    for month, said in (("2023-12", "2023-11 is"), ("2023-10", "not next")):
        with pytest.raises(ConflictError, match=said):
            await closed(worker, month)
    with pytest.raises(ConflictError, match="not over"):
        await closed(worker, "2023-11", now=DECEMBER.replace(month=11, day=30, hour=23))
    await closed(worker, "2023-11", now=DECEMBER)
    with pytest.raises(ConflictError, match="closed already"):
        await closed(worker, "2023-11")
    await closed(worker, "2023-12")
    with pytest.raises(ConflictError, match="2023-12 closed after"):
        await reopened(worker, "2023-11")
    await reopened(worker, "2023-12")
    assert (await reopened(worker, "2023-11")).state == "open"
    with pytest.raises(ConflictError, match="is open"):
        await reopened(worker, "2023-11")
    with pytest.raises(InvalidInputError, match="no month"):
        await closed(worker, "2023-13")


async def test_opened_again_it_is_booked_on_its_own_day(worker: Connection) -> None:
    books = await with_november(worker)
    await closed(worker, "2023-11")
    await books.usage(WINDOW, MILLION)
    await settle(worker, now=LATER)
    await reopened(worker, "2023-11")
    await books.usage(WINDOW, Tokens(uncached=2_000_000))
    await settle(worker, now=LATER)
    day = WINDOW.replace(hour=0, minute=0)
    assert [(row[0], row[1], row[3], row[4]) for row in await revenue(worker)] == [
        (day, None, 1, Decimal(5)),
        (day, None, 3, Decimal(10)),
        (DECEMBER, day, 2, Decimal(5)),
    ]
    assert (await check_books(worker)).differences == []


async def test_a_month_is_of_the_entitys_zone(worker: Connection) -> None:
    books = await subscribed(worker, zone="America/New_York")
    await books.usage(datetime(2023, 12, 1, 4, 45, tzinfo=UTC), MILLION)
    await settle(worker, now=LATER)
    with pytest.raises(ConflictError, match="not over"):
        await closed(worker, "2023-11", now=DECEMBER)
    done = await closed(worker, "2023-11")
    assert (done.since, done.until) == (
        datetime(2023, 11, 1, 4, tzinfo=UTC),
        datetime(2023, 12, 1, 5, tzinfo=UTC),
    )
    assert done.lines == 2


async def test_who_closed_and_why_is_kept(worker: Connection) -> None:
    await with_november(worker)
    done = await closed(worker, "2023-11", soft=True)
    assert (done.state, done.seal) == ("soft_closed", None)
    await closed(worker, "2023-11")
    await reopened(worker, "2023-11")
    rows = await worker.fetch(
        "SELECT change_no, state, actor, reason, request_id FROM month_state ORDER BY change_no"
    )
    assert [tuple(row) for row in rows] == [
        (1, "soft_closed", "cli:test", "for a test", "req-1"),
        (2, "closed", "cli:test", "for a test", "req-1"),
        (3, "open", "cli:test", "the meter was wrong", "req-2"),
    ]
    with pytest.raises(InvalidInputError, match="No reason"):
        await reopen_month(
            worker, entity_id="factory", month="2023-11", now=LATER, author=Author("a", " ", "r")
        )


async def matters(connection: Connection) -> dict[str, int]:
    """What is to be done before November closes."""
    months = await read_months(connection, entity_id="factory", now=LATER)
    assert months.next == "2023-11"
    return {each.name: each.count for each in months.matters if each.count}


async def test_what_is_to_be_done_is_named_with_how_much_and_may_be_accepted(
    worker: Connection,
) -> None:
    books = await with_november(worker)
    assert await matters(worker) == {"uninvoiced": 1}
    await books.usage(WINDOW, Tokens(cache_write=3))
    unknown = Buyer(customer_id=None, customer_ref="nobody", entity_id=None)
    await books.usage(WINDOW, MILLION, buyer=unknown)
    await worker.execute(
        """INSERT INTO bank_entry
           VALUES ('b', 'factory', 'a', 'r', $1, 'USD', 1, 'p', 'pa', 'ref', 1)""",
        WINDOW.date(),
    )
    assert await matters(worker) == {
        "stages": 1,
        "suspense": 1,
        "uninvoiced": 1,
        "bank-entries": 1,
    }
    everything = ("suspense", "uninvoiced", "bank-entries", "unpriced")
    with pytest.raises(ConflictError, match="stages: 1 not past its end: rate"):
        await closed(worker, "2023-11", accept=everything)
    with pytest.raises(InvalidInputError, match="'stages' cannot be accepted"):
        await closed(worker, "2023-11", accept=("stages",))
    await settle(worker, now=LATER)
    with pytest.raises(ConflictError, match="suspense: 1 names"):
        await closed(worker, "2023-11", accept=("uninvoiced",))
    await closed(worker, "2023-11", accept=everything)
    kept = await worker.fetchval("SELECT accepted FROM month_state")
    assert kept == dict.fromkeys(everything, 1)


async def test_an_invoice_that_went_out_leaves_nothing_to_do(worker: Connection) -> None:
    await with_november(worker)
    await issue_invoice(
        worker,
        subscription_id="sub-acme",
        moment=WINDOW,
        now=LATER,
        author=AUTHOR,
    )
    assert await matters(worker) == {}
    await closed(worker, "2023-11", accept=())


FAULTS = {
    "lines": "UPDATE posting SET model = 'another' WHERE account = '4000'",
    "gone": "DELETE FROM posting WHERE account IN ('4000', '1150')",
    "month before": "UPDATE month_state SET previous = sha256('x') WHERE month = '2023-12-01'",
    "seal": "UPDATE month_state SET seal = sha256('x') WHERE month = '2023-12-01'",
    "came": """INSERT INTO journal_entry (entity_id, kind, natural_key, revision, booked_for,
                                          cut_off_id, batch_seq, description)
               SELECT entity_id, kind, natural_key, 9, booked_for, cut_off_id, batch_seq, 'x'
                 FROM journal_entry LIMIT 1;
               INSERT INTO posting (entry_id, line_no, account, amount, currency)
               SELECT max(entry_id), n, '6000', 3 - 2 * n, 'USD'
                 FROM journal_entry, generate_series(1, 2) n GROUP BY n""",
}


async def test_check_proves_seals_and_names_what_differs(
    worker: Connection, superuser: Connection
) -> None:
    await with_november(worker)
    await closed(worker, "2023-11")
    await reopened(worker, "2023-11")
    await closed(worker, "2023-11")
    await closed(worker, "2023-12")
    assert (await check_books(worker)).proofs["month"] == 0
    for fault, sql in FAULTS.items():
        away = superuser.transaction()
        await away.start()
        await superuser.execute(sql)
        proof = await prove(superuser, "month", most=9)
        assert proof.differing, fault
        places = {one.where for one in proof.first}
        assert places <= {"factory 2023-11", "factory 2023-12"}, fault
        await away.rollback()


async def test_what_is_read_of_a_closed_month_is_the_same_for_ever(
    worker: Connection,
) -> None:
    books = await with_november(worker)
    await closed(worker, "2023-11")
    before = await exported(worker)
    for _ in range(2):
        await books.usage(WINDOW, MILLION)
        await settle(worker, now=LATER)
        assert await exported(worker) == before


async def exported(connection: Connection) -> list[object]:
    """Every form of November's journal, and its balances."""
    cut_off = await draw_cut_off(connection, "test")
    books = BooksOf("factory", NOVEMBER, DECEMBER, cut_off)
    forms: list[object] = [
        b"".join([part async for part in export_file(connection, name, books)])
        for name in ("journal_lines", "beancount", "hledger")
    ]
    balances = await find_balances(
        connection,
        entity_id="factory",
        since=NOVEMBER,
        until=DECEMBER,
        batch_seq=cut_off.batch_seq,
    )
    assert balances
    return [*forms, balances]
