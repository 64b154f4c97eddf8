"""Each proof of the books passes over true ones, and names what was changed behind their back."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from ledger.domain.period import DAY
from ledger.domain.pricing.models import PERIOD_KINDS, PRICE_MODELS
from ledger.embedded.postgres import EmbeddedServer
from ledger.flows.billing.credit import credit_invoice
from ledger.flows.billing.invoice import issue_invoice
from ledger.flows.billing.issue import NO_EXCEPTION, IssueRules
from ledger.flows.books.book_cost import book_cost
from ledger.flows.books.book_revenue import book_revenue
from ledger.flows.books.carry import carrying
from ledger.flows.books.check_books import EVERY, check_books
from ledger.flows.books.check_thin_days import THIN_DAY
from ledger.flows.cost.accrue import accrue
from ledger.flows.cost.allocate import allocate
from ledger.flows.metering.check import check_windows
from ledger.flows.metering.tally import tally
from ledger.flows.pricing.rate import rate
from ledger.flows.reference.enter import enter_price
from ledger.store.queries import Connection
from ledger.wire.inputs import read_input
from ledger.wire.price_inputs import NewPrice
from tests.flows.billing import (
    AUTHOR,
    NOVEMBER,
    NOW,
    WINDOW,
    azure_hours,
    document_of,
    pay,
    registered,
    settled,
    subscribed,
    treated,
)
from tests.flows.book_faults import BOOKS
from tests.flows.charge_faults import CHARGES, NAMES_NOTHING
from tests.flows.day_faults import DAYS
from tests.support.books import Books, Buyer, Tokens
from tests.support.charges import change_charges
from tests.support.database import filled_database
from tests.support.one_gpu import GPU
from tests.support.usage import Gate, attempt, keyed, open_books

GOLDEN = Path(__file__).parents[1] / "golden" / "prices"
AGAIN = IssueRules(supplementary=True)


async def fill(worker: Connection) -> None:
    """Usage that was rated, costed, booked, invoiced, repriced and invoiced again."""
    books = await subscribed(worker)
    await registered(worker)
    await treated(worker, "standard")
    await one_leased_gpu(books)
    await azure_hours(books)
    await settled(worker)
    await allocate(worker, now=NOW)
    await book_cost(worker, now=NOW)
    await accrue(worker, now=NOW)
    await issue(worker)
    price = {"rate_card_id": "card-acme", "meter": "input", "amount": "6"}
    terms = read_input(NewPrice, price | {"valid_from": WINDOW.replace(minute=0).isoformat()})
    await enter_price(worker, terms, AUTHOR, replace=True)
    await books.usage(WINDOW + timedelta(hours=3), Tokens(uncached=7))
    await issue(worker, AGAIN)
    await document_of(worker, await worker.fetchval("SELECT min(invoice_id) FROM invoice"))
    await paid_and_credited(worker)
    await books.usage(WINDOW, Tokens(output=5), buyer=Buyer(customer_id=None, customer_ref="who"))
    await rate(worker, now=NOW)
    await tally(worker, now=NOW)
    await carrying(1)(worker, now=NOW)


@pytest.fixture(scope="module")
def filled(server: EmbeddedServer, roomy: str) -> Iterator[str]:
    yield from filled_database(server, roomy, fill)


@pytest.fixture
def begins_with(request: pytest.FixtureRequest, filled: str, roomy: str) -> str:
    return filled if "books" in request.fixturenames else roomy


@pytest.fixture
def books(worker: Connection) -> Books:
    return Books(worker)


async def paid_and_credited(connection: Connection) -> None:
    """The first invoice is paid in part; of the rest and of the second some is credited back."""
    number = await connection.fetchval("SELECT number FROM invoice WHERE run_no = 1")
    await pay(connection, "b1", "50.00", invoice=number)
    for lines in ({1: Decimal("90.30")}, None):
        await credit_invoice(connection, named=number, lines=lines, now=NOW, author=AUTHOR)
    await pay(connection, "b2", "10.00", kind="refunded")
    await pay(connection, "b3", "0.02", kind="from_account")


async def one_leased_gpu(books: Books) -> None:
    """It serves for a quarter of each of two hours, and takes power that is paid for."""
    since = WINDOW.replace(minute=0)
    until = since + timedelta(hours=2)
    await books.facility()
    await books.pue(since, until)
    await books.tariff([(since, until, "100")], currency="USD")
    await books.lease(since, until, all_in=False, currency="USD")
    await books.site_cost("rent", since, until, currency="USD")
    await books.deployment(since, until, gpus=[GPU])
    read = [(since + timedelta(seconds=s), 400_000 * s) for s in range(0, 7_201, 60)]
    await books.readings(GPU, read)


async def issue(connection: Connection, allow: IssueRules = NO_EXCEPTION) -> None:
    await issue_invoice(
        connection, subscription_id="sub-acme", moment=NOVEMBER, now=NOW, author=AUTHOR, allow=allow
    )


async def test_true_books_agree_in_everything(books: Books) -> None:
    found = await check_books(books.connection)
    assert (found.differences, found.differing) == ([], 0)
    assert found.proofs.keys() == {*EVERY}
    assert found.states == {"rated": 3, "unpriced": 0, "suspense": 1, "not_yet_rated": 0}


FAULTS = BOOKS | CHARGES | DAYS | NAMES_NOTHING
CHANGES_CHARGES = re.compile(r"(UPDATE|INSERT INTO|DELETE FROM) charge\b")


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_was_changed_is_named(books: Books, superuser: Connection, fault: str) -> None:
    sql, (table, *wanted) = FAULTS[fault]
    if CHANGES_CHARGES.match(sql):
        await change_charges(superuser, sql)
    else:
        assert not (await superuser.execute(sql)).endswith(" 0")
    found = await check_books(books.connection)
    assert found.proofs[table] > 0, found.differences
    said = [
        (one.where, one.name, one.expected, one.stored)
        for one in found.differences
        if one.table == table
    ]
    assert any(all(w in ("*", s) for w, s in zip(wanted, one, strict=True)) for one in said), said


def test_every_proof_has_a_fault() -> None:
    # Whole periods, grants, extras, months and days without lines are tried with what they prove.
    elsewhere = {"period", "credit_grant", "extra_delta", "month", THIN_DAY}
    assert {wanted[0] for _, wanted in FAULTS.values()} | elsewhere == {*EVERY}


def test_every_price_model_is_proved() -> None:
    # find_wrong_charges multiplies for one kind; another needs its own arithmetic there.
    assert {"per_unit", "who_pays", *PERIOD_KINDS} == set(PRICE_MODELS)


# That of cost needs cost: it is proved where it is priced.
@pytest.mark.parametrize("kind", [kind for kind in PERIOD_KINDS if kind != "cost_plus"])
async def test_what_a_whole_period_comes_to_is_proved(
    superuser: Connection, worker: Connection, kind: str
) -> None:
    books = await subscribed(worker)
    params = json.loads((GOLDEN / f"{kind}.json").read_text())["params"]
    of_no_usage = {"recurring": "fee", "commitment": "commitment"} | dict.fromkeys(
        ("percent_off", "amount_off"), "discount"
    )
    meter = of_no_usage.get(kind, "input_cache_read")
    price = {"rate_card_id": "card-acme", "meter": meter, "kind": kind, **params}
    price |= {"name": "Launch"} if meter == "discount" else {}
    since = {"valid_from": NOVEMBER.isoformat()}
    await enter_price(worker, read_input(NewPrice, price | since), AUTHOR)
    for day in range(3):
        await books.usage(NOVEMBER + day * DAY, Tokens(cache_read=4_500_000, output=100_000))
    await settled(worker)
    assert (await check_books(worker)).proofs["period"] == 0
    await change_charges(
        superuser, f"UPDATE charge SET amount = amount + 1 WHERE meter = '{meter}'"
    )
    assert (await check_books(worker)).proofs["period"] > 0


async def test_what_a_stage_has_not_come_to_is_not_wrong(worker: Connection) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    found = await check_books(worker)
    assert (found.differing, found.states["not_yet_rated"]) == (0, 2)
    await rate(worker, now=NOW)
    assert (await check_books(worker)).differing == 0
    await books.usage(WINDOW, Tokens(uncached=1))
    await book_revenue(worker, now=NOW)
    found = await check_books(worker)
    assert (found.differing, found.states) == (
        0,
        {"rated": 2, "unpriced": 0, "suspense": 0, "not_yet_rated": 1},
    )


async def test_a_run_that_was_killed_before_its_end_is_not_wrong(
    worker: Connection, superuser: Connection
) -> None:
    books = await subscribed(worker)
    await azure_hours(books)
    await settled(worker)
    await books.usage(WINDOW, Tokens(uncached=1))
    await settled(worker)
    await superuser.execute("DELETE FROM stage_run WHERE run_id > 2")
    assert (await check_books(worker)).differing == 0


async def test_usage_without_a_price_waits(worker: Connection) -> None:
    books = await subscribed(worker, prices=("5",), meters=("input",))
    await azure_hours(books)
    await settled(worker)
    found = await check_books(worker)
    assert (found.differing, found.states["unpriced"]) == (0, 2)


async def test_a_counted_fact_that_is_never_charged_is_named(
    worker: Connection, superuser: Connection
) -> None:
    """A time that the stages cannot find again: it is counted, and nobody would pay for it."""
    books = await subscribed(worker)
    await azure_hours(books)
    await settled(worker)
    await superuser.execute(
        """INSERT INTO usage_delta
           SELECT customer_id, usage_key_id, '-infinity', batch_seq, 1, 5, 0, 0, 0, 0
             FROM usage_delta LIMIT 1"""
    )
    found = await check_books(worker)
    assert [(one.table, one.expected, one.stored) for one in found.differences] == [
        ("charge", "5", "0"),
        ("usage_day", "1", "0"),
    ]


async def _wide_facts(connection: Connection, superuser: Connection) -> None:
    """Thousand attempts of 10^16 tokens, and sums of them that wrapped as 64 bits do."""
    await open_books(connection)
    gate = Gate(connection)
    await gate.send(keyed(*(attempt(f"e{n}", tokens=1) for n in range(1_000))))
    await superuser.execute("UPDATE usage_fact SET uncached = 10000000000000000")
    wrapped = 1_000 * 10**16 - 2**64
    await superuser.execute("UPDATE usage_delta SET uncached = $1", wrapped)
    await superuser.execute("UPDATE activity SET uncached = ARRAY[$1::bigint]", wrapped)


async def test_a_sum_that_wrapped_is_named(worker: Connection, superuser: Connection) -> None:
    await _wide_facts(worker, superuser)
    found = await check_windows([worker])
    assert [(one["table"], one["counts"]) for one in found.differences] == [
        (table, {"uncached": {"facts": 10**19, "stored": 10**19 - 2**64}})
        for table in ("usage_delta", "activity_delta")
    ]


async def test_stored_sums_wider_than_64_bits_are_added_up(
    worker: Connection, superuser: Connection
) -> None:
    await _wide_facts(worker, superuser)
    await superuser.execute("UPDATE usage_delta SET uncached = 5000000000000000000")
    await superuser.execute("UPDATE activity SET uncached = ARRAY[5000000000000000000]")
    await superuser.execute(
        """INSERT INTO usage_delta
           SELECT customer_id, usage_key_id, window_start, batch_seq, 0, uncached, 0, 0, 0, 0
             FROM usage_delta"""
    )
    await superuser.execute(
        """INSERT INTO activity
           SELECT engine_key_id, window_start, batch_seq, usage_key_ids, uncached,
                  ARRAY[0], ARRAY[0], ARRAY[0] FROM activity"""
    )
    assert (await check_windows([worker])).differing == 0
