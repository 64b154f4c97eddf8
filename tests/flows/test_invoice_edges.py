"""Invoices where terms change under them, runs collide, or figures are absurd."""

import asyncio
from datetime import datetime
from decimal import Decimal

import pytest

from ledger.domain.errors import ConflictError, InvalidInputError, UnavailableError
from ledger.flows.billing.invoice import issue_invoice, pending_adjustments, preview_invoice
from ledger.flows.billing.issue import NO_EXCEPTION, IssuedInvoice, IssueRules
from ledger.flows.billing.run import RunAsk, run_invoices
from ledger.flows.reference.enter import enter_price, enter_rate_card, enter_subscription
from ledger.store.billing import invoice as store
from ledger.store.connect import connect, draw_batch_seq
from ledger.store.queries import Connection
from ledger.wire.inputs import NewSubscription, read_input
from ledger.wire.price_inputs import NewPrice, NewRateCard
from tests.flows.billing import (
    AUTHOR,
    DECEMBER,
    JANUARY,
    NOW,
    WINDOW,
    azure_hours,
    balance_of,
    settled,
    subscribed,
)
from tests.support.books import Buyer, Tokens
from tests.support.database import Database

HOUR = WINDOW.replace(minute=0)


async def issue(
    connection: Connection,
    *,
    moment: datetime = WINDOW,
    now: datetime = NOW,
    allow: IssueRules = NO_EXCEPTION,
) -> IssuedInvoice:
    return await issue_invoice(
        connection,
        subscription_id="sub-acme",
        moment=moment,
        now=now,
        author=AUTHOR,
        allow=allow,
    )


async def resubscribed(connection: Connection, **changes: object) -> None:
    subscription = {
        "subscription_id": "sub-acme",
        "customer_id": "acme",
        "rate_card_id": "card-acme",
        "valid_from": "2023-01-01T00:00:00Z",
    }
    new = read_input(NewSubscription, subscription | changes)
    await enter_subscription(connection, new, AUTHOR, replace=True)


async def test_a_changed_anchor_day_bills_no_window_twice(worker: Connection) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    await issue(worker)
    await resubscribed(worker, anchor_day=15)
    await books.usage(DECEMBER, Tokens(uncached=1_000_000))
    december = await issue(worker, moment=DECEMBER, now=JANUARY)
    assert december.net_total == Decimal("5.00")
    (invoice, _) = await store.list_invoices(worker)
    assert invoice.period.start == DECEMBER
    assert invoice.period.end == DECEMBER.replace(day=15)
    assert await balance_of(worker, "1150") == 0


async def test_a_price_entered_again_adjusts_nothing(worker: Connection) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    await issue(worker)
    later = {"rate_card_id": "card-acme", "amount": "1", "valid_from": "2024-02-01T00:00:00Z"}
    for meter in ("input", "output"):
        new = read_input(NewPrice, later | {"meter": meter})
        await enter_price(worker, new, AUTHOR, replace=True)
    assert await settled(worker) == (0, 0)
    assert await pending_adjustments(worker, subscription_id="sub-acme") == []
    await books.usage(HOUR, Tokens(output=1_000_000))
    await settled(worker)
    (line,) = await pending_adjustments(worker, subscription_id="sub-acme")
    assert (line.quantity, line.exact_amount) == (1_000_000, Decimal(15))


async def test_a_lower_price_in_the_past_is_credited_as_a_change_of_price(
    worker: Connection,
) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    await issue(worker)
    cheaper = {
        "rate_card_id": "card-acme",
        "meter": "output",
        "amount": "10",
        "valid_from": "2023-01-01T00:00:00Z",
    }
    await enter_price(worker, read_input(NewPrice, cheaper), AUTHOR, replace=True)
    await settled(worker)
    lines = await pending_adjustments(worker, subscription_id="sub-acme")
    assert [line.quantity for line in lines] == [-245_896, 245_896]
    assert sum(line.exact_amount for line in lines) == Decimal("-1.22948")


async def test_an_invoice_never_asks_for_less_than_nothing(worker: Connection) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    await issue(worker)
    await books.usage(HOUR, Tokens(uncached=-10_000_000))
    await books.usage(DECEMBER, Tokens(uncached=1_000_000))
    december = await issue(worker, moment=DECEMBER, now=JANUARY)
    assert december.payable == Decimal("5.00")
    (waiting,) = await pending_adjustments(worker, subscription_id="sub-acme")
    assert waiting.amount == Decimal("-50.00")
    assert await worker.fetchval("SELECT sum(amount) FROM posting") == 0


async def test_of_runs_for_one_period_at_once_one_wins_and_the_series_has_no_gap(
    worker: Connection, database: Database
) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    await settled(worker)

    async def apart() -> IssuedInvoice | ConflictError:
        connection = await connect(database.worker_url)
        try:
            return await issue(connection)
        except ConflictError as error:
            return error
        finally:
            await connection.close()

    came = await asyncio.gather(*(apart() for _ in range(4)))
    assert sum(isinstance(one, IssuedInvoice) for one in came) == 1
    assert await worker.fetchval("SELECT next_no FROM invoice_series") == 2


async def test_an_absurd_amount_is_refused_and_takes_no_number(worker: Connection) -> None:
    books = await subscribed(worker)
    await books.usage(WINDOW, Tokens(uncached=10**18))
    with pytest.raises(InvalidInputError, match="beyond"):
        await issue(worker)
    assert await worker.fetchval("SELECT count(*) FROM invoice_series") == 0


async def test_an_open_period_is_billed_up_to_now_and_the_rest_later(worker: Connection) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    now = HOUR.replace(day=20)
    await issue(worker, now=now, allow=IssueRules(open_period=True))
    (invoice,) = await store.list_invoices(worker)
    assert invoice.event_cut_off == now
    await books.usage(now.replace(day=25), Tokens(uncached=2_000_000))
    await settled(worker)
    (rest,) = await pending_adjustments(worker, subscription_id="sub-acme")
    assert rest.amount == Decimal("10.00")


async def test_one_refused_subscription_stops_no_other(worker: Connection) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    await subscribed(worker, customer_id="beta", meters=("input",), prices=("5",))
    await subscribed(worker, customer_id="gone")
    beta = Buyer(customer_id="beta", customer_ref="beta")
    await books.usage(WINDOW, Tokens(uncached=1_000_000, output=1), buyer=beta)
    gone = read_input(
        NewSubscription,
        {
            "subscription_id": "sub-gone",
            "customer_id": "gone",
            "rate_card_id": "card-gone",
            "valid_from": "2023-01-01T00:00:00Z",
            "valid_to": "2023-02-01T00:00:00Z",
        },
    )
    await enter_subscription(worker, gone, AUTHOR, replace=True)
    done = await run_invoices(worker, RunAsk("factory", WINDOW, NOW, AUTHOR))
    assert (done.issued, [one.what.subject for one in done.parked]) == (1, ["sub-beta"])
    (invoice,) = await store.list_invoices(worker)
    assert invoice.customer_id == "acme"


async def test_a_period_is_drafted_the_same_before_and_after_it_is_issued(
    worker: Connection,
) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    draft = await preview_invoice(worker, subscription_id="sub-acme", moment=WINDOW, now=NOW)
    issued = await issue(worker)
    assert issued.payable == draft.totals.payable
    after = await preview_invoice(worker, subscription_id="sub-acme", moment=WINDOW, now=NOW)
    assert (after.lines, after.run_no) == ((), 2)


async def test_an_open_batch_makes_an_invoice_wait_and_never_leave_charges_out(
    worker: Connection, database: Database
) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    other = await connect(database.worker_url)
    try:
        batch = other.transaction()
        await batch.start()
        await draw_batch_seq(other)
        with pytest.raises(UnavailableError, match="still being stored"):
            await issue(worker)
        assert await worker.fetchval("SELECT count(*) FROM invoice_series") == 0
        waiting = asyncio.create_task(issue(worker))
        await asyncio.sleep(0.2)
        await batch.commit()
        assert (await waiting).net_total == Decimal("93.99")
    finally:
        await other.close()


async def test_what_was_charged_in_another_currency_is_not_adjusted_in_this_one(
    worker: Connection,
) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    await issue(worker)
    euro = {
        "rate_card_id": "euro",
        "entity_id": "factory",
        "name": "Euro",
        "currency": "EUR",
        "prices": [{"meter": "input", "amount": "4", "valid_from": "2023-01-01T00:00:00Z"}],
    }
    await enter_rate_card(worker, read_input(NewRateCard, euro), AUTHOR)
    await resubscribed(worker, rate_card_id="euro", valid_from=DECEMBER.isoformat())
    await books.usage(HOUR, Tokens(uncached=1_000_000))
    await books.usage(DECEMBER, Tokens(uncached=1_000_000))
    december = await issue(worker, moment=DECEMBER, now=JANUARY)
    assert (december.net_total, december.currency) == (Decimal("4.00"), "EUR")
    more = await issue(worker, allow=IssueRules(supplementary=True))
    assert (more.net_total, more.currency) == (Decimal("5.00"), "USD")
    assert await worker.fetchval("SELECT sum(amount) FROM posting WHERE account = '1150'") == 0


async def test_what_a_model_is_called_stops_no_invoice(worker: Connection) -> None:
    books = await subscribed(worker)
    called = Buyer(model="llama \U0001f680\u202e 𒀀")
    await books.usage(HOUR, Tokens(uncached=1_000_000), buyer=called)
    await issue(worker)
    said = await worker.fetchval("SELECT description FROM invoice_line")
    assert "llama \\U0001f680\\u202e \\U00012000" in said
