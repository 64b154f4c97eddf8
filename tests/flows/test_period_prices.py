"""Prices that look at a billing period as a whole: rated by day, telescoping to the invoice."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ledger.domain.errors import ConflictError, LedgerError
from ledger.domain.period import DAY
from ledger.flows.billing.draw import draw
from ledger.flows.billing.invoice import issue_invoice, pending_adjustments
from ledger.flows.billing.issue import IssueRules
from ledger.flows.billing.trace import find_invoice, trace_invoice_line
from ledger.flows.books.book_revenue import book_revenue
from ledger.flows.books.check_books import check_books
from ledger.flows.pricing.rate import rate
from ledger.flows.reference.enter import enter_price
from ledger.store.billing.invoice import list_lines
from ledger.store.billing.trace import find_runs
from ledger.store.queries import Connection
from ledger.wire.errors import InputError
from ledger.wire.inputs import read_input
from ledger.wire.price_inputs import NewPrice
from tests.flows.billing import AUTHOR, DECEMBER, JANUARY, NOVEMBER, balance_of, grant, subscribed
from tests.support.books import Books, Buyer, Tokens

NOW = DECEMBER + timedelta(hours=3)
SINCE = "2023-01-01T00:00:00Z"
TIERS = [
    {"start": 0, "end": 1_000_000, "amount": "10"},
    {"start": 1_000_000, "end": 3_000_000, "amount": "8", "flat": "1"},
    {"start": 3_000_000, "amount": "5"},
]
GRADUATED = {"meter": "output", "kind": "graduated", "tiers": TIERS}
FEE = {"meter": "fee", "kind": "recurring", "every": "month", "name": "Support", "amount": "300"}
MINIMUM = {"meter": "commitment", "kind": "commitment", "every": "month", "amount": "60"}


async def priced(connection: Connection, *prices: dict[str, Any], **more: Any) -> Books:
    """A customer on a card with input at 5, and these prices."""
    books = await subscribed(connection, meters=("input",), prices=("5",), **more)
    for price in prices:
        await enter(connection, **price)
    return books


async def enter(connection: Connection, *, replace: bool = False, **price: Any) -> None:
    said = {"rate_card_id": "card-acme", "valid_from": SINCE} | price
    await enter_price(connection, read_input(NewPrice, said), AUTHOR, replace=replace)


async def settle(connection: Connection, now: datetime = NOW) -> None:
    await rate(connection, now=now)
    await book_revenue(connection, now=now)


async def test_a_day_that_begins_as_rating_runs_is_charged(worker: Connection) -> None:
    await priced(worker, FEE)
    await settle(worker, DECEMBER)
    await settle(worker, JANUARY)
    await agree(worker)


async def revenue(connection: Connection) -> dict[int, Decimal]:
    """What was booked as revenue of each day of November."""
    rows = await connection.fetch(
        """SELECT e.booked_for, -sum(p.amount) AS amount FROM journal_entry e
             JOIN posting p USING (entry_id)
            WHERE p.account = '4000' AND e.booked_for < $1 GROUP BY 1""",
        DECEMBER,
    )
    return {row["booked_for"].day: row["amount"] for row in rows if row["amount"]}


async def issued(
    connection: Connection, at: datetime = NOVEMBER, *, again: bool = False
) -> list[tuple[str, int, str]]:
    """The lines of November's invoice: what they say, how many, and the exact amount."""
    one = await issue_invoice(
        connection,
        subscription_id="sub-acme",
        moment=at,
        now=NOW,
        author=AUTHOR,
        allow=IssueRules(supplementary=again),
    )
    lines = await list_lines(connection, invoice_id=one.invoice_id)
    return [
        (each.description, each.quantity, f"{each.exact_amount.normalize():f}") for each in lines
    ]


async def agree(connection: Connection) -> None:
    found = await check_books(connection)
    assert (found.differences, found.differing) == ([], 0)


async def test_graduated_days_add_what_their_units_reach(worker: Connection) -> None:
    books = await priced(worker, GRADUATED)
    for day, tokens in ((2, 800_000), (9, 400_000), (20, 3_000_000)):
        await books.usage(NOVEMBER + (day - 1) * DAY, Tokens(output=tokens))
    await settle(worker)
    # 8; then 2 + 1 flat + 1.60; then 14.40 + 6.
    assert await revenue(worker) == {2: Decimal(8), 9: Decimal("4.6"), 20: Decimal("20.4")}
    await agree(worker)
    assert await issued(worker) == [
        ("Output tokens, all models, first 1,000,000", 1_000_000, "10"),
        ("Output tokens, all models, 1,000,000 to 3,000,000", 2_000_000, "16"),
        ("Output tokens, all models, 1,000,000 to 3,000,000, flat", 1, "1"),
        ("Output tokens, all models, above 3,000,000", 1_200_000, "6"),
    ]
    await agree(worker)
    assert await balance_of(worker, "1150") == 0


async def test_months_from_their_last_day_on_bill_each_day_once(worker: Connection) -> None:
    zone = {"zone": "Europe/Copenhagen", "anchor_day": 31}
    books = await priced(worker, GRADUATED, FEE, {**MINIMUM, "amount": "400"}, **zone)
    for days, tokens in ((-2, 500_000), (-1, 700_000), (28, 600_000), (29, 900_000), (59, 100_000)):
        await books.usage(NOVEMBER + days * DAY, Tokens(output=tokens))
    january = JANUARY + 3 * DAY
    await settle(worker, january)
    await agree(worker)
    counted = []
    # November has no 31st: a period ends, and the next begins, on its 30th.
    for days in (-2, -1, 29):
        one = await issue_invoice(
            worker,
            subscription_id="sub-acme",
            moment=NOVEMBER + days * DAY,
            now=january,
            author=AUTHOR,
        )
        lines = await list_lines(worker, invoice_id=one.invoice_id)
        fees = [line.exact_amount for line in lines if line.key.meter == "fee"]
        of_output = [line for line in lines if line.key.meter == "output_visible"]
        units = [line.quantity for line in of_output if not line.description.endswith("flat")]
        counted.append((sum(fees), sum(units), sum(line.exact_amount for line in lines)))
    assert counted == [(300, 500_000, 700), (300, 1_300_000, 700), (300, 1_000_000, 700)]
    await agree(worker)


async def test_late_usage_changes_the_days_behind_it_alone(worker: Connection) -> None:
    books = await priced(worker, GRADUATED)
    await books.usage(NOVEMBER + DAY, Tokens(output=900_000))
    await books.usage(NOVEMBER + 8 * DAY, Tokens(output=900_000))
    await settle(worker)
    assert await revenue(worker) == {2: Decimal(9), 9: Decimal("8.4")}
    await books.usage(NOVEMBER + 4 * DAY, Tokens(output=100_000))
    await settle(worker)
    assert await revenue(worker) == {2: Decimal(9), 5: Decimal(1), 9: Decimal("8.2")}
    await agree(worker)


async def test_volume_reprices_what_came_before(worker: Connection) -> None:
    tiers = ["0-1000000:10", "1000000-:4"]
    books = await priced(worker, {"meter": "output", "kind": "volume", "tiers": tiers})
    await books.usage(NOVEMBER, Tokens(output=1_000_000), buyer=Buyer(model="one"))
    await books.usage(NOVEMBER + DAY, Tokens(output=1_000_000), buyer=Buyer(model="two"))
    await settle(worker)
    assert await revenue(worker) == {1: Decimal(10), 2: Decimal(-2)}
    shares = await worker.fetch(
        """SELECT k.model, sum(c.amount) AS amount, sum(c.quantity) AS quantity
             FROM charge c JOIN usage_key k USING (usage_key_id) GROUP BY 1 ORDER BY 1"""
    )
    assert [tuple(row.values()) for row in shares] == [("one", 4, 10**6), ("two", 4, 10**6)]
    await agree(worker)
    assert await issued(worker) == [
        ("Output tokens, all models, above 1,000,000", 2_000_000, "8"),
    ]


async def test_a_pool_is_a_billing_period_and_a_price(worker: Connection) -> None:
    own = {**GRADUATED, "model": "two"}
    books = await priced(worker, {**GRADUATED, "tiers": ["0-:1"]}, own)
    for at in (NOVEMBER - DAY, NOVEMBER):
        await books.usage(at, Tokens(output=900_000), buyer=Buyer(model="two"))
        await books.usage(at, Tokens(output=900_000), buyer=Buyer(model="one"))
    await settle(worker)
    assert await revenue(worker) == {31: Decimal("9.9"), 1: Decimal("9.9")}
    assert await issued(worker) == [
        ("Output tokens, all models, all units", 900_000, "0.9"),
        ("Output tokens, two, first 1,000,000", 900_000, "9"),
    ]
    await agree(worker)


async def test_packages_and_allowances_have_lines_of_their_own(worker: Connection) -> None:
    books = await priced(
        worker,
        {"meter": "output", "kind": "package", "amount": "2", "size": 1_000},
        {"meter": "cached_input", "kind": "included", "included": 500, "amount": "3", "per": 1},
    )
    await books.usage(NOVEMBER, Tokens(output=1_001, cache_read=400))
    await books.usage(NOVEMBER + DAY, Tokens(output=998, cache_read=400))
    await settle(worker)
    assert await revenue(worker) == {1: Decimal(4), 2: Decimal(900)}
    assert await issued(worker) == [
        ("Cached input tokens, all models, included 500", 500, "0"),
        ("Cached input tokens, all models, overage", 300, "900"),
        ("Output tokens, all models, packages of 1,000", 2, "4"),
    ]
    await agree(worker)


async def test_a_fee_accrues_as_days_begin_without_any_usage(worker: Connection) -> None:
    await priced(worker, FEE, {**FEE, "name": "Seats", "amount": "30"}, since=NOVEMBER)
    noon = NOVEMBER + timedelta(days=2, hours=12)
    await settle(worker, noon)
    assert await revenue(worker) == dict.fromkeys((1, 2, 3), Decimal(11))
    await settle(worker, noon + timedelta(hours=1))
    assert await worker.fetchval("SELECT count(*) FROM charge") == 6
    await settle(worker, noon + timedelta(hours=12))
    assert await revenue(worker) == dict.fromkeys((1, 2, 3, 4), Decimal(11))
    await settle(worker, DECEMBER)
    assert len(await revenue(worker)) == 30
    assert await issued(worker) == [("Fee, Support", 1, "300"), ("Fee, Seats", 1, "30")]
    await agree(worker)


async def test_a_fee_is_for_the_time_it_was_agreed_for(worker: Connection) -> None:
    since = NOVEMBER + timedelta(days=15, hours=6)
    await priced(worker, FEE, since=since)
    await settle(worker)
    assert (await revenue(worker))[16] == Decimal("7.5")
    until = (NOVEMBER + timedelta(days=20)).isoformat()
    await enter(worker, **FEE | {"amount": "600", "valid_from": until}, replace=True)
    await settle(worker)
    days = await revenue(worker)
    assert (days[20], days[21], days[30]) == (Decimal(10), Decimal(20), Decimal(20))
    assert await issued(worker, DECEMBER - DAY) == [
        ("Fee, Support", 1, "47.5"),
        ("Fee, Support, from 2023-11-21", 1, "200"),
    ]
    await agree(worker)


async def test_a_minimum_takes_what_usage_is_short_of(worker: Connection) -> None:
    books = await priced(worker, MINIMUM, since=NOVEMBER)
    await books.usage(NOVEMBER + 9 * DAY, Tokens(uncached=5_000_000))
    await settle(worker)
    # Two a day are due; 25 on the tenth is ahead of that until the thirteenth.
    days = await revenue(worker)
    assert (days[9], days[10], days[13], days[14]) == tuple(map(Decimal, (2, 7, 1, 2)))
    assert 11 not in days
    assert sum(days.values()) == 60
    assert sorted(await issued(worker)) == [
        ("Minimum commitment, true-up", 1, "35"),
        ("Uncached input tokens, llama, tier standard", 5_000_000, "25"),
    ]
    await agree(worker)


async def test_usage_above_the_minimum_is_all_there_is_to_pay(worker: Connection) -> None:
    books = await priced(worker, MINIMUM, since=NOVEMBER)
    await settle(worker, NOVEMBER + 5 * DAY)
    await books.usage(NOVEMBER + 4 * DAY, Tokens(uncached=20_000_000))
    await settle(worker)
    assert sum((await revenue(worker)).values()) == 100
    assert [line[0] for line in await issued(worker)] == [
        "Uncached input tokens, llama, tier standard"
    ]
    await agree(worker)


async def test_what_changes_after_the_invoice_is_one_line_of_the_next(worker: Connection) -> None:
    books = await priced(worker, GRADUATED)
    await books.usage(NOVEMBER, Tokens(output=2_000_000))
    await settle(worker)
    await issued(worker)
    await books.usage(NOVEMBER + DAY, Tokens(output=2_000_000))
    await settle(worker)
    (line,) = await pending_adjustments(worker, subscription_id="sub-acme")
    assert (line.quantity, line.exact_amount, line.kind) == (1, Decimal(13), "adjustment")
    assert [line[1:] for line in await issued(worker, again=True)] == [(1, "13")]
    assert await pending_adjustments(worker, subscription_id="sub-acme") == []
    with pytest.raises(ConflictError):
        await issued(worker, again=True)
    await agree(worker)


async def test_a_line_of_a_tier_leads_to_all_its_price_looked_at(worker: Connection) -> None:
    books = await priced(worker, GRADUATED)
    for model in ("one", "two"):
        await books.usage(NOVEMBER, Tokens(output=900_000), buyer=Buyer(model=model))
    await settle(worker)
    await issued(worker)
    invoice = await find_invoice(worker, "FACTORY-2023-000001")
    line = await trace_invoice_line(worker, invoice=invoice, line_no=1, limit=10)
    asked: dict[str, Any] = {"line": line.line, "customer_id": "acme"}
    asked |= {"batch_seq": invoice.cut_off_seq}
    runs = await find_runs(worker, **asked)
    assert len({run.usage_key_id for run in runs}) == 2


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata"])
async def test_periods_are_of_the_zone_that_is_billed_in(worker: Connection, zone: str) -> None:
    books = await priced(worker, GRADUATED, FEE, billed_in=zone, since=NOVEMBER)
    # A day of UTC that holds the end of one period and the start of the next.
    for hour in range(0, 48, 3):
        await books.usage(DECEMBER - DAY + timedelta(hours=hour), Tokens(output=200_000))
    await settle(worker, DECEMBER + 3 * DAY)
    await agree(worker)


BAD: dict[str, dict[str, Any]] = {
    "gap": {**GRADUATED, "tiers": ["0-10:1", "11-:1"]},
    "overlap": {**GRADUATED, "tiers": ["0-10:1", "9-:1"]},
    "not from zero": {**GRADUATED, "tiers": ["1-:1"]},
    "no tiers": {"meter": "output", "kind": "volume"},
    "no period": {"meter": "commitment", "kind": "commitment", "amount": "5"},
    "too fine": {"meter": "output", "amount": "0.0000001"},
    "tier too fine": {**GRADUATED, "tiers": ["0-:0.0000001"]},
    "of usage": {**FEE, "meter": "output"},
    "of a model": {**FEE, "model": "llama"},
    "no kind": {"meter": "fee", "amount": "5"},
    "foreign": {**GRADUATED, "amount": "5"},
    "a name": {**GRADUATED, "name": "x"},
    "no amount": {"meter": "output"},
}


@pytest.mark.parametrize("name", BAD)
async def test_terms_that_cannot_be_counted_are_refused(worker: Connection, name: str) -> None:
    await priced(worker)
    with pytest.raises((InputError, LedgerError)):
        await enter(worker, **BAD[name])
    assert await worker.fetchval("SELECT count(*) FROM rate_card_price") == 1


OFF = {"meter": "discount", "kind": "percent_off", "name": "Launch"}


async def test_discounts_come_off_usage_in_their_order_each_a_line(worker: Connection) -> None:
    books = await priced(
        worker,
        {"meter": "output", "kind": "included", "included": 1_000_000, "amount": "10"},
        {**OFF, "percent": "10"},
        {**OFF, "percent": "50", "name": "Beta", "model": "beta*"},
        {**OFF, "percent": "100", "name": "Free", "model": "beta-2", "on": "output"},
        {**OFF, "kind": "amount_off", "name": "A", "amount": "5", "every": "month"},
        {**OFF, "kind": "amount_off", "name": "B", "amount": "900", "every": "month"}
        | {"valid_from": "2023-11-20T00:00:00Z"},
        {**MINIMUM, "amount": "20"},
    )
    for day in (1, 10, 25):
        await books.usage(NOVEMBER + day * DAY, Tokens(uncached=2_000_000))
        beta = Buyer(model="beta-2")
        await books.usage(
            NOVEMBER + day * DAY, Tokens(uncached=400_000, output=500_000), buyer=beta
        )
    await settle(worker)
    await agree(worker)
    # Input 30 and 6, output 5 above what is included: 3 off, 3 off and all of the output; then 5,
    # then what is left of the last day; and up to the minimum.
    assert await issued(worker) == [
        ("Output tokens, all models, included 1,000,000", 1_000_000, "0"),
        ("Output tokens, all models, overage", 500_000, "5"),
        ("Uncached input tokens, beta-2, tier standard", 1_200_000, "6"),
        ("Uncached input tokens, llama, tier standard", 6_000_000, "30"),
        ("Discount, Launch", 1, "-3"),
        ("Discount, A", 1, "-5"),
        ("Discount, B", 1, "-10"),
        ("Discount, beta*, Beta", 1, "-3"),
        ("Discount, beta-2, Free", 1, "-5"),
        ("Minimum commitment, true-up", 1, "5"),
    ]
    await books.usage(NOVEMBER + 3 * DAY, Tokens(uncached=2_000_000))
    await settle(worker)
    await agree(worker)
    await enter(worker, replace=True, **OFF, percent="20")
    await settle(worker)
    await agree(worker)


async def test_credit_pays_what_discounts_left(worker: Connection) -> None:
    books = await priced(worker, {**OFF, "percent": "30"})
    await grant(worker, "credit", "500")
    await books.usage(NOVEMBER, Tokens(uncached=2_000_000))
    await rate(worker, now=NOW)
    await draw(worker, now=NOW)
    await settle(worker)
    await agree(worker)
    drawn = await worker.fetchval("SELECT sum(amount) FROM credit_draw")
    assert drawn == Decimal(7)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"percent": "100.01"}, "up to 100"),
        ({"percent": "0"}, "above 0"),
        ({"percent": "5", "name": None}, "its line of the invoice"),
        ({"percent": "5", "on": "fee"}, "a meter of usage"),
        ({"percent": "5", "hours": "mon-fri 22:00-06:00 UTC"}, "leave it out of a discount"),
        ({"percent": "5", "amount": "5"}, "leave it out with kind percent_off"),
        ({}, "send it with kind percent_off"),
        ({"kind": "amount_off", "amount": "5"}, "send it with kind amount_off"),
        ({"kind": "amount_off", "amount": "5", "every": "month", "model": "m"}, "leave it out"),
        ({"kind": "per_unit", "amount": "5"}, "percent_off or amount_off with meter discount"),
        ({"meter": "input", "percent": "5"}, "send discount with kind percent_off"),
    ],
)
def test_a_discount_that_is_none_is_refused(said: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        read_input(NewPrice, {"rate_card_id": "c", "valid_from": SINCE} | OFF | said)
