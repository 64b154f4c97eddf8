"""Prices that follow from what the same usage cost: priced anew as that is allocated anew."""

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ledger.domain.errors import LedgerError, MissingInputError
from ledger.domain.period import DAY
from ledger.flows.books.book_cost import book_cost
from ledger.flows.books.check_books import check_books
from ledger.flows.cost.allocate import allocate
from ledger.flows.cost.thin import thin
from ledger.flows.pricing.rate import rate
from ledger.flows.reference.enter import enter_subscription
from ledger.store.queries import Connection
from ledger.wire.errors import InputError
from ledger.wire.inputs import NewSubscription, read_input
from ledger.wire.price_inputs import NewPrice
from tests.cli.command_line import CommandLine
from tests.flows.billing import AUTHOR, DECEMBER, WINDOW
from tests.flows.test_check_books import one_leased_gpu
from tests.flows.test_period_prices import MINIMUM, NOW, SINCE, agree, enter, issued, priced, settle
from tests.flows.test_who_pays import rule, went
from tests.support.books import Books, Buyer, Tokens
from tests.support.charges import change_charges
from tests.support.database import Database

PLUS: dict[str, Any] = {"meter": "cost", "kind": "cost_plus", "markup": "20"}
HOUR = WINDOW.replace(minute=0)


async def served(connection: Connection, *prices: dict[str, Any]) -> Books:
    """What a leased GPU served in two hours, by a card with input at nothing and these prices."""
    books = await priced(connection, {"meter": "input", "model": "llama", "amount": "0"}, *prices)
    await one_leased_gpu(books)
    await books.usage(HOUR, Tokens(uncached=1_000_000))
    return books


async def costed(connection: Connection, now: datetime = NOW) -> None:
    await allocate(connection, now=now)
    await settle(connection, now)


async def cost_of_usage(connection: Connection, where: str = "true") -> Decimal:
    sql = f"""SELECT coalesce(sum(l.device_cost + l.overhead_cost + l.gpu_cost), 0)
                FROM cost_lines_at(as_it_stands()) l JOIN usage_key k USING (usage_key_id)
               WHERE l.line = 'usage' AND {where}"""
    return Decimal(await connection.fetchval(sql))


def with_20_percent(cost: Decimal) -> Decimal:
    return (cost * Decimal("1.2")).quantize(Decimal("1e-12"))


async def asked(connection: Connection) -> Decimal:
    sql = "SELECT coalesce(sum(amount), 0) FROM charge WHERE meter = 'cost'"
    return Decimal(await connection.fetchval(sql))


async def test_what_usage_cost_is_asked_for_with_its_mark_up(worker: Connection) -> None:
    await served(worker, PLUS)
    await costed(worker)
    cost = await cost_of_usage(worker)
    assert cost > 0
    assert await asked(worker) == with_20_percent(cost)
    await agree(worker)
    lines = await issued(worker)
    assert lines[0] == ("Uncached input tokens, llama, tier standard", 1_000_000, "0")
    assert lines[1][:2] == ("Cost plus", 1)
    assert Decimal(lines[1][2]) == with_20_percent(cost)
    await agree(worker)


async def test_cost_that_is_allocated_anew_is_priced_anew(worker: Connection) -> None:
    books = await served(worker, PLUS)
    await costed(worker)
    first = await asked(worker)
    await issued(worker)
    # Somebody else worked beside it.
    await books.usage(HOUR, Tokens(uncached=1_000_000), buyer=Buyer(model="llama", project_id="x"))
    await books.usage(HOUR + timedelta(minutes=15), Tokens(uncached=10))
    await costed(worker, NOW + timedelta(hours=1))
    assert await asked(worker) == with_20_percent(await cost_of_usage(worker)) != first
    await agree(worker)
    again = await issued(worker, again=True)
    assert sum(Decimal(line[2]) for line in again) == await asked(worker) - first
    await agree(worker)


OFF: dict[str, Any] = {"meter": "discount", "kind": "percent_off", "percent": "10", "name": "Ten"}
OUTPUT: dict[str, Any] = {"meter": "output", "amount": "4"}


async def test_a_subscription_that_is_told_anew_within_a_day_is_priced_on_both_sides(
    worker: Connection,
) -> None:
    books = await served(worker, PLUS | {"markup": "0"}, OUTPUT, OFF)
    until = HOUR + timedelta(hours=1)
    said = {"subscription_id": "sub-acme", "customer_id": "acme", "rate_card_id": "card-acme"}
    new = read_input(NewSubscription, said | {"valid_from": until.isoformat()})
    await enter_subscription(worker, new, AUTHOR, replace=True)
    for at in (HOUR, until):
        await books.usage(at, Tokens(uncached=1_000_000, output=1_000_000))
    await costed(worker)
    assert await worker.fetchval("SELECT count(*) FROM parked") == 0
    assert await asked(worker) == await cost_of_usage(worker) > 0
    taken = "SELECT sum(amount) FROM charge WHERE meter = 'discount'"
    assert await worker.fetchval(taken) == Decimal("-0.8")


async def test_the_price_that_names_most_decides_and_others_pay_by_the_unit(
    worker: Connection,
) -> None:
    books = await served(
        worker, PLUS | {"model": "llama"}, PLUS | {"project_id": "lab", "markup": "0"}
    )
    for buyer in (Buyer(project_id="lab"), Buyer(model="phi")):
        await books.usage(HOUR, Tokens(uncached=1_000_000), buyer=buyer)
    await costed(worker)
    lab = await cost_of_usage(worker, "k.project_id = 'lab'")
    rest = await cost_of_usage(worker, "k.project_id = '' AND k.model = 'llama'")
    assert await asked(worker) == lab + with_20_percent(rest)
    await agree(worker)
    said = [line[0] for line in await issued(worker)]
    assert "Cost plus, llama" in said
    assert "Cost plus, project lab" in said


async def test_what_the_house_pays_for_is_not_asked_for_and_a_minimum_counts_the_rest(
    worker: Connection,
) -> None:
    books = await served(worker, PLUS, rule("aborted"), MINIMUM)
    await books.usage(HOUR, Tokens(uncached=1_000_000), buyer=went("aborted"))
    await costed(worker)
    assert await asked(worker) == with_20_percent(await cost_of_usage(worker, "k.outcomes = 0"))
    await agree(worker)
    assert sum(Decimal(line[2]) for line in await issued(worker)) == 60
    await agree(worker)


async def test_an_invoice_waits_for_the_cost_of_its_period(worker: Connection) -> None:
    await served(worker, PLUS)
    await settle(worker)
    with pytest.raises(MissingInputError, match="is allocated not at all"):
        await issued(worker)
    await allocate(worker, now=DECEMBER - DAY)
    await settle(worker)
    with pytest.raises(MissingInputError, match="is allocated up to 2023-11-30"):
        await issued(worker)
    await costed(worker)
    assert len(await issued(worker)) == 2
    await agree(worker)


async def test_days_whose_lines_were_let_go_have_them_again_for_a_price_that_comes_later(
    worker: Connection,
) -> None:
    free = {"meter": "input", "model": "llama", "amount": "0"}
    books = await priced(worker, free, billed_in="Asia/Tokyo")
    await one_leased_gpu(books)
    await books.usage(HOUR, Tokens(uncached=1_000_000))
    await costed(worker)
    await book_cost(worker, now=NOW)
    await thin(worker, now=NOW)
    assert await worker.fetchval("SELECT count(*) FROM cost_share") == 0
    await enter(worker, **PLUS)
    await settle(worker, NOW + timedelta(hours=1))
    assert await asked(worker) == with_20_percent(await cost_of_usage(worker)) > 0
    await agree(worker)


async def test_explain_says_which_cost_it_was(worker: Connection, database: Database) -> None:
    await served(worker, PLUS)
    await costed(worker)
    asked_for = ("price", "explain", "cost", "--customer", "acme", "--model", "llama")
    at = ("--at", HOUR.isoformat())
    command = CommandLine(database)
    said = await asyncio.to_thread(command.json, *asked_for, *at)
    cost = f"{(await cost_of_usage(worker)).normalize():f}"
    assert [(Decimal(each["amount"]), each["currency"]) for each in said["costs"]] == [
        (Decimal(cost), "USD")
    ]
    shown = (await asyncio.to_thread(command, *asked_for, *at)).stdout
    assert f"by acme was allocated {cost} USD on that day" in shown


async def test_cost_in_another_currency_is_no_price(
    worker: Connection, superuser: Connection
) -> None:
    await served(worker, PLUS)
    await superuser.execute("UPDATE rate_card SET currency = 'EUR'")
    await allocate(worker, now=NOW)
    report = await rate(worker, now=NOW)
    assert "Usage costs USD" in str(report.failed[0])
    with pytest.raises(LedgerError, match="could not be rated"):
        await issued(worker)


async def test_a_charge_unlike_its_cost_is_named(worker: Connection, superuser: Connection) -> None:
    await served(worker, PLUS)
    await costed(worker)
    assert (await check_books(worker)).proofs["period"] == 0
    await change_charges(superuser, "UPDATE charge SET amount = amount + 1 WHERE meter = 'cost'")
    assert (await check_books(worker)).proofs["period"] > 0


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"markup": "-1"}, "markup: "),
        ({"markup": "10001"}, "markup: "),
        ({"markup": None}, "markup: found nothing; send it with kind cost_plus"),
        ({"meter": "output"}, "meter: found .*output.*send cost with kind cost_plus"),
        ({"kind": "per_unit", "markup": None, "amount": "1"}, "kind: found .*per_unit"),
        ({"band_from": 200_000}, "band_from: .*leave it out of a cost"),
        ({"hours": "00:00-01:00 UTC"}, "hours: .*leave it out of a cost"),
        ({"amount": "1"}, "amount: .*leave it out with kind cost_plus"),
    ],
)
def test_a_mark_up_that_could_go_wrong_is_refused(changed: dict[str, Any], wrong: str) -> None:
    said = {"rate_card_id": "c", "valid_from": SINCE} | PLUS | changed
    with pytest.raises(InputError, match=wrong):
        read_input(NewPrice, {name: value for name, value in said.items() if value is not None})
