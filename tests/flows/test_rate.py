"""Usage becomes charges by differences: exact, rated again only where something changed."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from ledger.flows.pricing.rate import rate
from ledger.flows.reference.enter import enter_price
from ledger.reports.grouped import CHARGES, Grouping
from ledger.store import stage_runs
from ledger.store.connect import connect, draw_cut_off, reached_of
from ledger.store.pricing.rating import list_unpriced
from ledger.store.queries import Connection
from ledger.wire.inputs import read_input
from ledger.wire.price_inputs import NewPrice
from tests.flows.billing import (
    ACME,
    AUTHOR,
    NOW,
    WINDOW,
    azure_hours,
    balance_of,
    settled,
    subscribed,
)
from tests.support.books import Buyer, Tokens
from tests.support.database import Database

NOON = datetime(2023, 11, 16, 12, tzinfo=UTC)
Day = tuple[datetime, str, int | None]


async def days(connection: Connection, since_seq: int = 0) -> dict[Day, tuple[int, Decimal | None]]:
    """What stored rows come to, by the beginning of the day, meter and price."""
    rows = await connection.fetch(
        """SELECT day_start, meter, price_id, sum(quantity) AS quantity, sum(amount) AS amount
             FROM charge WHERE batch_seq > $1 GROUP BY 1, 2, 3""",
        since_seq,
    )
    return {
        (row["day_start"], row["meter"], row["price_id"]): (int(row["quantity"]), row["amount"])
        for row in rows
    }


async def last_seq(connection: Connection) -> int:
    return (await draw_cut_off(connection, "test")).batch_seq


async def test_rating_twice_writes_nothing(worker: Connection) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    assert await settled(worker) == (2, 1)
    assert await settled(worker) == (0, 0)
    assert await balance_of(worker, "4000") == Decimal("-93.98831")
    assert await balance_of(worker, "1150") == Decimal("93.98831")


async def test_many_days_are_rated_over_two_connections_to_the_same(worker: Connection) -> None:
    books = await subscribed(worker)
    for day in range(1, 8):
        for hour in (3, 21):
            await books.usage(datetime(2023, 11, day, hour, tzinfo=UTC), Tokens(output=day))
    done = await replace(rate, chunk_parts=1)(worker, now=NOW)
    assert (done.windows, done.rows_written, done.parked) == (7, 7, ())
    found = {(at.day, quantity) for (at, _, _), (quantity, _) in (await days(worker)).items()}
    assert found == {(day, 2 * day) for day in range(1, 8)}
    assert (await rate(worker, now=NOW)).rows_written == 0


async def test_what_days_before_used_changes_no_price_of_a_day(worker: Connection) -> None:
    """Each day is a chunk: of models that days before had, with others, of others alone; one of
    them costs more from the fourth day on, and one has no price until then."""
    books = await subscribed(worker)
    dearer = {"model": "m-2", "amount": "20", "valid_from": "2023-11-04T00:00:00Z"}
    for said in (dearer, dearer | {"model": "late", "meter": "requests", "per": 1}):
        price = {"rate_card_id": "card-acme", "meter": "output", **said}
        await enter_price(worker, read_input(NewPrice, price), AUTHOR)
    for day in range(1, 8):
        for model in {"m-0", f"m-{day % 3}", f"only-{day}", "late"} - {"m-0" if day > 5 else ""}:
            buyer = replace(ACME, model=model)
            at = datetime(2023, 11, day, 23 - day, tzinfo=UTC)
            await books.usage(at, Tokens(output=0 if model == "late" else day), buyer=buyer)
    await replace(rate, chunk_parts=1)(worker, now=NOW)
    found = await worker.fetch(
        """SELECT day_start, model, meter, sum(amount) AS amount
             FROM charge JOIN usage_key USING (usage_key_id)
            GROUP BY 1, 2, 3 HAVING sum(amount) <> 0"""
    )
    expected = {}
    for day in range(1, 8):
        for model in {"m-0", f"m-{day % 3}", f"only-{day}"} - {"m-0" if day > 5 else ""}:
            amount = 20 if model == "m-2" and day >= 4 else 15
            expected[day, model, "output_visible"] = Decimal(amount * day) / 1_000_000
        if day >= 4:
            expected[day, "late", "requests"] = Decimal(20)
    assert {
        (row["day_start"].day, row["model"], row["meter"]): row["amount"] for row in found
    } == expected
    assert (await rate(worker, now=NOW)).rows_written == 0


async def test_what_stores_beside_a_run_keeps_others_out(
    worker: Connection, database: Database
) -> None:
    second = await connect(database.worker_url)
    try:
        async with stage_runs.beside_run(reached_of(worker), rate.name):
            beginning = asyncio.create_task(rate(second, now=NOW))
            await asyncio.sleep(0.3)
            assert not beginning.done()
        assert (await beginning).rows_written == 0
    finally:
        await second.close()


async def test_late_usage_adds_a_difference_alone(worker: Connection) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    await settled(worker)
    before = await last_seq(worker)
    await books.usage(WINDOW.replace(minute=0), Tokens(output=1_000_000))
    assert await settled(worker) == (1, 1)
    assert await balance_of(worker, "4000") == Decimal("-108.98831")
    ((_, meter, _), added), *others = (await days(worker, before)).items()
    assert (meter, added, others) == ("output_visible", (1_000_000, Decimal(15)), [])


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
    assert await settled(worker) == (2, 1)
    cut_off = await draw_cut_off(worker, "test")
    assert await list_unpriced(worker, entity_id="factory", batch_seq=cut_off.batch_seq) == []
    assert await balance_of(worker, "4000") == Decimal("-93.98831")


async def test_a_new_price_rerates_only_the_windows_it_applies_to(worker: Connection) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    await settled(worker)
    await price_from(worker, "10")
    await settled(worker)
    assert await balance_of(worker, "4000") == Decimal("-93.98831") + Decimal("0.15969")
    output = [value for (_, meter, _), value in (await days(worker)).items() if "output" in meter]
    assert sorted(one for one in output if one[0]) == [
        (31_938, Decimal("0.319380")),
        (213_958, Decimal("3.209370")),
    ]


async def price_from(worker: Connection, amount: str) -> None:
    """Output at another price from the second of the two hours on."""
    price = {
        "rate_card_id": "card-acme",
        "meter": "output",
        "amount": amount,
        "valid_from": (WINDOW.replace(minute=0) + timedelta(hours=1)).isoformat(),
    }
    await enter_price(worker, read_input(NewPrice, price), AUTHOR, replace=True)


async def test_a_price_of_the_same_terms_charges_nothing_anew(worker: Connection) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    await settled(worker)
    await price_from(worker, "15")
    assert await settled(worker) == (0, 0)
    await books.usage(WINDOW.replace(hour=20), Tokens(output=2))
    assert await settled(worker) == (1, 1)
    assert len(await days(worker)) == 2


async def test_no_day_and_no_billing_period_has_an_edge_inside_a_charge(worker: Connection) -> None:
    """The entity's days begin at 16:00 UTC, those of the subscription at 08:00, and it began at
    noon of one."""
    books = await subscribed(
        worker, zone="Asia/Shanghai", billed_in="America/Los_Angeles", since=NOON
    )
    quarter = timedelta(minutes=15)
    usage = [
        (at, Tokens(output=1), ACME)
        for at in (NOON - quarter, NOON, NOON.replace(hour=16) - quarter, NOON.replace(hour=16))
    ]
    next_day = NOON + timedelta(days=1)
    usage += [
        (at, Tokens(output=1), ACME)
        for at in (next_day.replace(hour=8) - quarter, next_day.replace(hour=8))
    ]
    await books.usages(usage)
    await settled(worker)
    starts = {day: quantity for (day, _, _), (quantity, _) in (await days(worker)).items()}
    assert starts == {
        NOON.replace(hour=16) - timedelta(days=1): 1,
        NOON: 2,
        NOON.replace(hour=16): 2,
        next_day.replace(hour=8): 1,
    }


async def test_usage_of_nobody_is_not_rated(worker: Connection) -> None:
    books = await subscribed(worker)
    stranger = Buyer(customer_id=None, customer_ref="who", entity_id=None)
    await books.usage(WINDOW, Tokens(output=5), buyer=stranger)
    assert await settled(worker) == (0, 0)


async def test_revenue_is_booked_by_the_day_of_the_entity(worker: Connection) -> None:
    books = await subscribed(worker, zone="Asia/Kolkata")
    await azure_hours(books)
    await settled(worker)
    booked = await worker.fetch("SELECT booked_for FROM journal_entry WHERE kind = 'revenue'")
    midnight = WINDOW.replace(minute=30)
    assert [row["booked_for"] for row in booked] == [midnight - timedelta(days=1), midnight]


async def test_a_run_that_broke_off_is_made_up_for(worker: Connection, owner: Connection) -> None:
    """What was stored before a run ended is told from what was not, day by day."""
    books = await subscribed(worker)
    await azure_hours(books)
    await settled(worker)
    await owner.execute("DELETE FROM stage_run")
    await books.usage(WINDOW.replace(day=17), Tokens(output=2))
    assert await settled(worker) == (1, 1)
    assert await settled(worker) == (0, 0)


async def test_charges_say_up_to_when_what_was_stored_is_rated(worker: Connection) -> None:
    books = await subscribed(worker)
    await azure_hours(books)

    async def rated_to(
        entity_id: str | None = None, customer_id: str | None = None
    ) -> datetime | None:
        cut_off = await draw_cut_off(worker, "test")
        period = (NOON - timedelta(days=1), NOON + timedelta(days=1))
        grouping = Grouping(CHARGES, ("customer",), *period, cut_off, entity_id, customer_id)
        state = await grouping.state(worker)
        assert state.keys() == {"rated_to"}
        moment: datetime | None = state["rated_to"]
        return moment

    assert await rated_to() is None
    await settled(worker)
    newest = "SELECT max(drawn_at) FROM cut_off JOIN stage_run USING (cut_off_id) WHERE stage = $1"
    ran = await worker.fetchval(newest, "rate")
    assert ran is not None
    assert await rated_to() == await rated_to(customer_id=ACME.customer_id) == ran
    assert await rated_to(entity_id="factory") == ran
    assert await rated_to(entity_id="another") is None
    await books.usage(WINDOW, Tokens(output=2))
    assert await rated_to() == ran
    await settled(worker)
    later = await rated_to()
    assert later is not None
    assert later > ran
