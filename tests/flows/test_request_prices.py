"""Requests are a meter like tokens where a price is for them; else they cost nothing."""

from decimal import Decimal
from typing import Any

import pytest

from ledger.domain.period import DAY
from ledger.flows.billing.trace import find_invoice, trace_invoice_line
from ledger.flows.books.check_books import check_books
from ledger.store.pricing.rating import list_unpriced
from ledger.store.queries import Connection
from ledger.wire.errors import InputError
from ledger.wire.inputs import read_input
from ledger.wire.price_inputs import NewPrice
from tests.flows.billing import NOVEMBER
from tests.flows.test_period_prices import SINCE, agree, enter, issued, priced, revenue, settle
from tests.flows.test_who_pays import rule, used, went
from tests.support.books import Buyer, Tokens
from tests.support.charges import change_charges

EACH: dict[str, Any] = {"meter": "requests", "amount": "0.25", "per": 1}


async def test_each_request_costs_what_the_card_says_beside_its_tokens(
    worker: Connection,
) -> None:
    books = await priced(worker, EACH | {"model": "qwen*", "amount": "2", "per": 1_000}, EACH)
    await used(books, Buyer(), Buyer(), Buyer(model="qwen-3"))
    await settle(worker)
    days = {1: Decimal("5.25"), 2: Decimal("5.25"), 3: Decimal("5.002")}
    assert await revenue(worker) == days
    await agree(worker)
    assert await issued(worker) == [
        ("Uncached input tokens, llama, tier standard", 2_000_000, "10"),
        ("Requests, llama, tier standard", 2, "0.5"),
        ("Uncached input tokens, qwen-3, tier standard", 1_000_000, "5"),
        ("Requests, qwen-3, tier standard", 1, "0.002"),
    ]
    await agree(worker)


async def test_requests_that_no_price_is_for_cost_nothing_and_wait_for_none(
    worker: Connection,
) -> None:
    books = await priced(worker, EACH | {"model": "other"}, rule("aborted"))
    await used(books, went(), went("aborted"))
    await settle(worker)
    assert await revenue(worker) == {1: Decimal(5)}
    waiting = await list_unpriced(worker, entity_id="factory", batch_seq=10**9)
    assert waiting == []
    assert await worker.fetchval("SELECT count(*) FROM charge WHERE meter = 'requests'") == 0
    await agree(worker)


async def test_the_house_pays_for_requests_as_for_tokens(worker: Connection) -> None:
    books = await priced(worker, EACH, rule("aborted"))
    await used(books, went(), went("aborted"))
    await settle(worker)
    assert await revenue(worker) == {1: Decimal("5.25")}
    assert ("Requests, llama, tier standard, aborted: not billed", 1, "0") in await issued(worker)
    await agree(worker)


@pytest.mark.parametrize(
    ("price", "amount"),
    [
        ({"kind": "package", "size": 2, "amount": "3"}, "6"),
        ({"kind": "graduated", "tiers": ["0-2:1+5", "2-:0.5"], "per": 1}, "7.5"),
        ({"kind": "volume", "tiers": ["0-2:1", "2-:0.5"], "per": 1}, "1.5"),
        ({"kind": "included", "included": 2, "amount": "4", "per": 1}, "4"),
    ],
)
async def test_a_period_of_requests_is_looked_at_as_a_whole(
    worker: Connection, price: dict[str, Any], amount: str
) -> None:
    books = await priced(worker, {"meter": "requests", **price})
    await used(books, Buyer(), Buyer(), Buyer(model="qwen-3"))
    await settle(worker)
    assert sum((await revenue(worker)).values()) == 15 + Decimal(amount)
    await agree(worker)
    assert sum(Decimal(line[2]) for line in await issued(worker)) == 15 + Decimal(amount)
    await agree(worker)


async def test_at_some_hours_alone_requests_are_asked_for(worker: Connection) -> None:
    books = await priced(worker, EACH | {"hours": "00:00-01:00 UTC"})
    await used(books, Buyer(), Buyer())
    await books.usage(NOVEMBER + DAY / 2, Tokens(uncached=1))
    await settle(worker)
    assert sum((await revenue(worker)).values()) == Decimal("10.500005")
    await agree(worker)


async def test_a_price_that_comes_late_asks_for_requests_that_went_by(worker: Connection) -> None:
    books = await priced(worker)
    await used(books, Buyer())
    await settle(worker)
    await issued(worker)
    await enter(worker, **EACH)
    await settle(worker)
    assert await revenue(worker) == {1: Decimal("5.25")}
    await agree(worker)
    assert await issued(worker, again=True) == [("Requests, llama, tier standard", 1, "0.25")]
    await agree(worker)


async def test_discounts_minimums_and_traces_know_requests(worker: Connection) -> None:
    off = {"meter": "discount", "kind": "percent_off", "percent": "50", "name": "Half"}
    books = await priced(worker, EACH, off | {"on": "requests"})
    await used(books, Buyer())
    await settle(worker)
    assert await revenue(worker) == {1: Decimal("5.125")}
    lines = await issued(worker)
    assert lines[-1] == ("Discount, Half", 1, "-0.125")
    invoice = await find_invoice(worker, await worker.fetchval("SELECT number FROM invoice"))
    traced = await trace_invoice_line(worker, invoice=invoice, line_no=2, limit=10)
    assert traced.line.key.meter == "requests"
    await agree(worker)


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("DELETE FROM charge WHERE meter = 'requests'", "quantity"),
        ("UPDATE charge SET quantity = 2, amount = 0.5 WHERE meter = 'requests'", "quantity"),
        ("UPDATE charge SET amount = amount + 1 WHERE meter = 'requests'", "amount"),
    ],
)
async def test_requests_that_are_charged_wrongly_are_named(
    worker: Connection, superuser: Connection, sql: str, name: str
) -> None:
    books = await priced(worker, EACH)
    await used(books, Buyer())
    await settle(worker)
    await change_charges(superuser, sql)
    found = await check_books(worker)
    assert name in {each.name for each in found.differences if "requests" in each.where}


def test_a_price_of_requests_says_of_how_many() -> None:
    said = {"rate_card_id": "card", "meter": "requests", "amount": "1", "valid_from": SINCE}
    with pytest.raises(InputError, match=r"per: found nothing; send it with meter requests"):
        read_input(NewPrice, said)
    assert read_input(NewPrice, said | {"per": 1}).per == 1
