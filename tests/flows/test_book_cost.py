"""Cost is booked by local day, tier and model, balanced, and again only by its difference."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from ledger.flows.books.book_cost import book_cost
from ledger.flows.books.check_books import check_books
from ledger.flows.cost.allocate import allocate
from ledger.store.queries import Connection
from tests.support.books import Books, Buyer, Tokens
from tests.support.one_gpu import GPU, LATER, START, at, one_gpu, steady

NEXT_DAY = datetime(2026, 3, 3, tzinfo=UTC)


async def booked(connection: Connection) -> dict[tuple[str, str], Decimal]:
    rows = await connection.fetch(
        "SELECT account, dimension, sum(amount) AS amount FROM posting GROUP BY 1, 2 ORDER BY 1, 2"
    )
    return {(row["account"], row["dimension"]): row["amount"] for row in rows if row["amount"]}


async def test_serving_and_idle_are_booked_apart(worker: Connection) -> None:
    books = Books(worker)
    await one_gpu(books)
    await books.readings(GPU, steady(range(0, 3601, 10)))
    await books.usage(START, Tokens(output=1))
    await allocate(worker, now=LATER)
    report = await book_cost(worker, now=LATER)
    assert report.rows_written == 1
    amounts = await booked(worker)
    assert amounts["5000", ""] == Decimal("0.01")
    assert amounts["5010", ""] == Decimal("0.03")
    assert amounts["5020", "serving"] == Decimal("0.0035")
    assert amounts["5110", ""] == idle_depreciation(amounts)
    assert sum(amounts.values()) == 0
    assert amounts["2100", ""] == Decimal("-0.054")


def idle_depreciation(amounts: dict[tuple[str, str], Decimal]) -> Decimal:
    """Idle is what depreciation leaves after the serving quarter."""
    return -amounts["1590", ""] - amounts["5100", ""]


async def test_lease_is_hosting_by_use_and_owed_to_the_lessor(worker: Connection) -> None:
    books = Books(worker)
    await books.entity()
    await books.facility()
    await books.lease(START, at(3600), rate="4")
    await books.deployment(START, at(3600))
    await books.usage(START, Tokens(output=1))
    await allocate(worker, now=LATER)
    await book_cost(worker, now=LATER)
    assert await booked(worker) == {("2000", ""): -4, ("5200", "idle"): 3, ("5200", "serving"): 1}


async def test_cost_of_an_unknown_customers_usage_stays_apart(worker: Connection) -> None:
    books = Books(worker)
    await books.entity()
    await books.facility()
    await books.lease(START, at(3600), rate="4")
    await books.deployment(START, at(3600))
    unknown = Buyer(entity_id=None, customer_id=None, customer_ref="nobody")
    await books.usage(START, Tokens(output=1), buyer=unknown)
    await allocate(worker, now=LATER)
    await book_cost(worker, now=LATER)
    assert await booked(worker) == {("2000", ""): -4, ("5200", "idle"): 3, ("5200", "suspense"): 1}


async def test_booking_again_writes_nothing_and_a_change_books_its_difference(
    worker: Connection,
) -> None:
    books = Books(worker)
    await books.entity()
    await books.facility()
    await books.lease(START, at(7200), rate="4")
    await allocate(worker, now=LATER)
    assert (await book_cost(worker, now=LATER)).rows_written == 1
    assert (await book_cost(worker, now=LATER)).rows_written == 0
    await books.close("asset", "asset_id = 'rack'")
    await books.lease(START, at(7200), rate="6")
    await allocate(worker, now=LATER)
    assert (await book_cost(worker, now=LATER)).rows_written == 1
    rows = await worker.fetch(
        """SELECT natural_key, revision, amount FROM journal_entry JOIN posting USING (entry_id)
            WHERE account = '5200' ORDER BY natural_key, revision"""
    )
    assert [tuple(row) for row in rows] == [
        ("cost:factory:2026-03-02T00:00Z", 1, 8),
        ("cost:factory:2026-03-02T00:00Z", 2, 4),
    ]


async def test_days_are_those_of_the_entitys_zone(worker: Connection) -> None:
    books = Books(worker)
    since = datetime(2026, 3, 2, 18, 15, tzinfo=UTC)
    await books.entity(zone="Asia/Kolkata")
    await books.facility()
    await books.lease(since, since + timedelta(hours=1), rate="4")
    await allocate(worker, now=NEXT_DAY)
    await book_cost(worker, now=NEXT_DAY)
    rows = await worker.fetch(
        """SELECT booked_for, amount FROM journal_entry JOIN posting USING (entry_id)
            WHERE account = '5200' ORDER BY booked_for"""
    )
    first = datetime(2026, 3, 1, 18, 30, tzinfo=UTC)
    assert [tuple(row) for row in rows] == [(first, 1), (first + timedelta(days=1), 3)]


async def test_usage_is_booked_by_tier_and_model_and_a_change_by_its_difference(
    worker: Connection,
) -> None:
    books = Books(worker)
    await books.entity()
    await books.facility()
    await books.lease(START, at(3600), rate="4")
    await books.deployment(START, at(3600))
    await books.usage(START, Tokens(output=1))
    await books.usage(START, Tokens(output=1), buyer=Buyer(customer_id=None, customer_ref="who"))
    await allocate(worker, now=LATER)
    await book_cost(worker, now=LATER)
    assert await _by_model(worker) == {
        ("", "", "idle"): (Decimal(3), 1),
        ("standard", "llama", "serving"): (Decimal("0.5"), 1),
        ("standard", "llama", "suspense"): (Decimal("0.5"), 1),
    }
    await books.usage(at(900), Tokens(output=1))
    await allocate(worker, now=LATER)
    await book_cost(worker, now=LATER)
    assert await _by_model(worker) == {
        ("", "", "idle"): (Decimal(2), 2),
        ("standard", "llama", "serving"): (Decimal("1.5"), 2),
        ("standard", "llama", "suspense"): (Decimal("0.5"), 1),
    }
    assert (await check_books(worker)).proofs["cost"] == 0


async def _by_model(
    connection: Connection,
) -> dict[tuple[str, str, str], tuple[Decimal, int]]:
    """What leases cost by tier, model and use, and in how many postings."""
    rows = await connection.fetch(
        """SELECT tier, model, dimension, sum(amount) AS amount, count(*) AS postings
             FROM posting WHERE account = '5200' GROUP BY 1, 2, 3"""
    )
    return {
        (row["tier"], row["model"], row["dimension"]): (row["amount"], row["postings"])
        for row in rows
    }
