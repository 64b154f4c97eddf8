"""Usage becomes charges by revisions: exact, re-rated only where something changed."""

from datetime import timedelta
from decimal import Decimal

from ledger.flows.reference.enter import enter_price
from ledger.store.connect import draw_cut_off
from ledger.store.pricing.rating import list_unpriced
from ledger.store.queries import Connection
from ledger.wire.inputs import NewPrice, read_input
from tests.flows.billing import AUTHOR, NOW, WINDOW, azure_hours, balance_of, settled, subscribed
from tests.support.books import Buyer, Tokens


async def revisions(connection: Connection) -> list[tuple[str, int, Decimal | None]]:
    rows = await connection.fetch(
        "SELECT meter, revision, amount FROM charge ORDER BY window_start, meter, revision"
    )
    return [(row["meter"], row["revision"], row["amount"]) for row in rows]


async def test_rating_twice_writes_nothing(worker: Connection) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    assert await settled(worker) == (4, 2)
    assert await settled(worker) == (0, 0)
    assert await balance_of(worker, "4000") == Decimal("-93.98831")
    assert await balance_of(worker, "1150") == Decimal("93.98831")


async def test_late_usage_revises_its_window_alone(worker: Connection) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    await settled(worker)
    await books.usage(WINDOW.replace(minute=0), Tokens(output=1_000_000))
    assert await settled(worker) == (1, 1)
    assert await balance_of(worker, "4000") == Decimal("-108.98831")
    latest = await worker.fetchrow("SELECT * FROM charge WHERE revision = 2")
    assert latest is not None
    assert (latest["meter"], latest["quantity"]) == ("output_visible", 1_213_958)


async def test_unpriced_usage_waits_listed_and_is_billed_once_priced(worker: Connection) -> None:
    books = await subscribed(worker, meters=("input",), prices=("5",))
    await azure_hours(books)
    await settled(worker)
    cut_off = await draw_cut_off(worker, "test")
    (waiting,) = await list_unpriced(worker, entity_id="factory", batch_seq=cut_off.batch_seq)
    assert waiting.quantity == 245_896
    assert "no price for output_visible" in waiting.reason
    price = {
        "rate_card_id": "card-acme",
        "meter": "output",
        "amount": "15",
        "valid_from": "2023-01-01T00:00:00Z",
    }
    await enter_price(worker, read_input(NewPrice, price), AUTHOR)
    assert await settled(worker) == (2, 2)
    cut_off = await draw_cut_off(worker, "test")
    assert await list_unpriced(worker, entity_id="factory", batch_seq=cut_off.batch_seq) == []
    assert await balance_of(worker, "4000") == Decimal("-93.98831")


async def test_a_new_price_rerates_only_the_windows_it_applies_to(worker: Connection) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    await settled(worker)
    price = {
        "rate_card_id": "card-acme",
        "meter": "output",
        "amount": "10",
        "valid_from": (WINDOW.replace(minute=0) + timedelta(hours=1)).isoformat(),
    }
    await enter_price(worker, read_input(NewPrice, price), AUTHOR, replace=True)
    await settled(worker)
    changed = [found for found in await revisions(worker) if found[1] == 2 and found[2] is not None]
    amounts = {amount for _, _, amount in changed}
    assert Decimal("0.319380") in amounts
    assert await balance_of(worker, "4000") == Decimal("-93.98831") + Decimal("0.15969")


async def test_usage_of_nobody_is_not_rated(worker: Connection) -> None:
    books = await subscribed(worker)
    stranger = Buyer(customer_id=None, customer_ref="who", entity_id=None)
    await books.usage(WINDOW, Tokens(output=5), buyer=stranger)
    assert await settled(worker) == (0, 0)


async def test_revenue_is_booked_by_the_hour_of_the_entity(worker: Connection) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    await settled(worker)
    hours = await worker.fetch(
        "SELECT booked_for FROM journal_entry WHERE kind = 'revenue' ORDER BY booked_for"
    )
    assert [row["booked_for"].hour for row in hours] == [18, 19]
    assert all(row["booked_for"] < NOW for row in hours)
