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


# What somebody did, and each proof that must say so: table, place, figure, what it must be and is.
FAULTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "a cost of a site is gone": (
        "DELETE FROM site_cost",
        ("site_cost", "factory account 5300 rent USD", "amount", "0", "2"),
    ),
    "a cost of a site was changed": (
        "UPDATE site_cost SET amount = amount + 1",
        ("site_cost", "factory account 2150 USD", "amount", "-3", "-2"),
    ),
    "a cost of a site was booked under another name": (
        "UPDATE posting SET dimension = 'lunch' WHERE account = '5300'",
        ("site_cost", "factory account 5300 lunch USD", "amount", "0", "2"),
    ),
    "a bill that nobody entered is owed": (
        """UPDATE journal_entry SET kind = 'utility bill' WHERE kind = 'site cost'""",
        ("utility_bill", "factory account expenses USD", "amount", "0", "2"),
    ),
    "an amount was changed": (
        "UPDATE charge SET amount = 1 WHERE quantity = 18059981",
        ("price", "acme llama standard input_uncached", "amount", "108.359886", "1"),
    ),
    "a currency was changed": (
        "UPDATE charge SET currency = 'EUR' WHERE quantity = 18059981",
        ("price", "acme llama standard input_uncached", "currency", "USD", "EUR"),
    ),
    "a price was changed": (
        """UPDATE rate_card_price SET params = jsonb_set(params, '{amount}', '"0.5"')
            WHERE meter = 'output_visible'""",
        ("price", "acme llama standard output_visible", "amount", "0.122948", "3.68844"),
    ),
    "the price is another meter's": (
        """UPDATE charge SET price_id = p.price_id FROM rate_card_price p
            WHERE quantity = 18059981 AND p.meter = 'output_visible'""",
        ("price", "acme llama standard input_uncached", "price_id", "a price that applies", "*"),
    ),
    "revenue was booked away": (
        """DELETE FROM posting
            WHERE entry_id = (SELECT min(entry_id) FROM journal_entry WHERE kind = 'revenue')""",
        ("revenue", "factory llama standard USD", "revenue", "*", "*"),
    ),
    "electricity was booked away": (
        """UPDATE posting SET account = '5010' WHERE account = '5000'""",
        ("cost", "factory account 5000 llama standard USD", "amount", "*", "0"),
    ),
    "cost was booked to another model": (
        "UPDATE posting SET model = 'other' WHERE account = '5000' AND model = 'llama'",
        ("cost", "factory account 5000 other standard USD", "amount", "0", "*"),
    ),
    "a cost line of a key that nobody knows": (
        "UPDATE cost_share SET usage_key_id = '{7}'",
        ("cost_line", "factory deployment:chat", "usage_key_id", "one that is there", "7"),
    ),
    "a cost line of a cut-off that nobody drew": (
        "UPDATE cost_allocation SET cut_off_id = 7777 WHERE line = 'idle'",
        ("cost_line", "factory deployment:chat", "cut_off_id", "one that is there", "7777"),
    ),
    "a cost line of another entity": (
        "UPDATE cost_day_line SET entity_id = 'nobody' WHERE line = 'idle'",
        ("cost_line", "nobody deployment:chat", "entity_id", "one that is there", "nobody"),
    ),
    "a cost line of a deployment that never was": (
        "UPDATE cost_allocation SET scope = 'deployment:none' WHERE line = 'idle'",
        ("cost_line", "factory deployment:none", "scope", "one that is there", "deployment:none"),
    ),
    "a cost line was changed": (
        "UPDATE cost_share SET gpu_cost_low[1] = gpu_cost_low[1] + 1000000000000",
        ("cost", "factory account 2000 USD", "amount", "*", "*"),
    ),
    "a cost line took another's part": (
        "UPDATE cost_share SET gpu_cost_low[1] = gpu_cost_low[1] + 1000000000000",
        ("cost_share", "factory deployment:chat", "digest", "*", "*"),
    ),
    "what was allocated was changed": (
        """UPDATE cost_allocation SET gpu_cost = gpu_cost + 1, output_cost = output_cost + 1
            WHERE line = 'usage'""",
        ("cost_share", "factory deployment:chat", "gpu_cost", "*", "*"),
    ),
    "a cost line is gone": (
        "DELETE FROM cost_allocation WHERE line = 'idle'",
        ("cost", "factory account 5200 idle USD", "amount", "0", "*"),
    ),
    "a cost was made up": (
        """INSERT INTO posting SELECT entry_id, n, account, amount, 'USD', NULL, ''
             FROM (SELECT min(entry_id) AS entry_id FROM journal_entry WHERE kind = 'revenue') e,
                  (VALUES (91, '5900', 3), (92, '2000', -3)) AS p (n, account, amount)""",
        ("cost", "factory account 5900 USD", "amount", "0", "3"),
    ),
    "a receivable was made up": (
        """INSERT INTO posting SELECT entry_id, n, account, amount, 'USD', 'acme', ''
             FROM (SELECT min(entry_id) AS entry_id FROM journal_entry WHERE kind = 'cost') e,
                  (VALUES (91, '1100', 3), (92, '1150', -3)) AS p (n, account, amount)""",
        ("control", "acme account 1100 USD", "balance", "*", "*"),
    ),
    "an invoice went, and its entry with it": (
        """WITH gone AS (DELETE FROM invoice WHERE run_no = 2 RETURNING *)
           UPDATE posting SET account = '4000' FROM journal_entry e, gone g
            WHERE posting.entry_id = e.entry_id AND posting.account = '1100'
              AND e.natural_key = 'invoice:' || g.entity_id || ':' || g.number""",
        ("control", "factory account 4000 USD", "balance", "*", "*"),
    ),
    "an entry does not balance": (
        """UPDATE posting SET amount = amount + 1 WHERE line_no = 1 AND entry_id =
           (SELECT min(entry_id) FROM journal_entry WHERE kind = 'revenue')""",
        ("journal_entry", "*", "residual", "0", "1"),
    ),
    "a balance that is carried was changed": (
        """UPDATE carried_balance SET amount = amount + 3 WHERE account = '1100'
              AND until_seq = (SELECT max(until_seq) FROM journal_stretch WHERE level = 0)""",
        ("carried_balance", "*", "amount", "*", "*"),
    ),
    "a stretch of balances is gone": (
        """WITH gone AS (DELETE FROM journal_stretch WHERE level = 0 AND until_seq =
                           (SELECT min(until_seq) FROM journal_stretch) RETURNING *)
           DELETE FROM carried_balance b USING gone g
            WHERE (b.level, b.until_seq) = (g.level, g.until_seq)""",
        ("carried_balance", "*", "since_seq", "0", "*"),
    ),
    "a stretch of balances forgot a currency": (
        "UPDATE journal_stretch SET currencies = '{}'",
        ("carried_balance", "*", "currencies", "USD", ""),
    ),
    "a receivable belongs to nobody": (
        "UPDATE posting SET customer_id = NULL WHERE account = '1100'",
        ("posting", "*", "customer_id", "acme", "none"),
    ),
    "a receivable belongs to another": (
        "UPDATE posting SET customer_id = 'beta' WHERE account = '1150' AND amount < 0",
        ("posting", "*", "customer_id", "acme", "beta"),
    ),
    "an invoice asks for less": (
        "UPDATE invoice SET net_total = net_total - 1, payable = payable - 1 WHERE run_no = 1",
        ("invoice", "*", "net_total", "93.99", "92.99"),
    ),
    "an invoice lost its exact total": (
        "UPDATE invoice SET exact_total = 1 WHERE run_no = 1",
        ("invoice", "*", "exact_total", "93.98831", "1"),
    ),
    "a line is gone": (
        """DELETE FROM invoice_line
            WHERE line_no = 1 AND invoice_id = (SELECT min(invoice_id) FROM invoice)""",
        ("billed", "*", "amount", "*", "0"),
    ),
    "a line was rounded twice": (
        "UPDATE invoice_line SET amount = amount + 0.01 WHERE line_no = 1",
        ("invoice_line", "*", "amount", "*", "*"),
    ),
    "a line asks for more than its price": (
        "UPDATE invoice_line SET unit_amount = unit_amount * 2 WHERE line_no = 1",
        ("invoice_line", "*", "charged_amount", "*", "*"),
    ),
    "a line was converted by another rate": (
        "UPDATE invoice_line SET exact_amount = exact_amount + 0.000001 WHERE line_no = 1",
        ("invoice_line", "*", "exact_amount", "*", "*"),
    ),
    "tax is not its share": (
        "UPDATE invoice_tax SET amount = amount + 1",
        ("invoice_tax", "*", "amount", "*", "*"),
    ),
    "tax was left out": (
        "DELETE FROM invoice_tax",
        ("invoice", "*", "tax_total", "0", "*"),
    ),
    "tax is of less than was sold": (
        "UPDATE invoice_tax SET base = base - 1",
        ("invoice", "*", "base of tax", "*", "*"),
    ),
    "a credit note takes back more than its lines": (
        "UPDATE credit_note SET net_total = net_total + 1, payable = payable + 1",
        ("credit_note", "*", "net_total", "*", "*"),
    ),
    "a line was credited twice": (
        "UPDATE credit_note_line SET amount = amount * 100",
        ("credit_note", "*", "credited", "*", "*"),
    ),
    "a credit note is another document": (
        "UPDATE credit_note_document SET content = 'another'",
        ("credit_note", "*", "document", "*", "*"),
    ),
    "a payment pays more than it is": (
        "UPDATE payment_part SET amount = amount + 1",
        ("payment", "*", "parts", "*", "*"),
    ),
    "an invoice was paid twice": (
        """UPDATE payment_part SET amount = amount * 100;
           UPDATE payment SET amount = amount * 100 WHERE on_account = 0""",
        ("payment", "*", "paid", "*", "*"),
    ),
    "more was paid back than there was": (
        """UPDATE payment SET amount = amount + 99, on_account = on_account - 99
            WHERE kind = 'refunded'""",
        ("payment", "acme USD", "on_account", "0", "*"),
    ),
    "cash was made up": (
        "UPDATE posting SET account = '1000' WHERE account = '1100' AND amount < 0",
        ("control", "acme account 1000 USD", "balance", "*", "*"),
    ),
    "a line bills other usage than was charged": (
        """UPDATE invoice_line SET quantity = quantity * 2, exact_amount = exact_amount * 2,
                                   amount = amount * 2
            WHERE line_no = 1 AND kind = 'usage'""",
        ("billed", "*", "quantity", "*", "*"),
    ),
    "a document is another": (
        "UPDATE invoice_document SET content = 'another'",
        ("invoice", "*", "document", "*", "*"),
    ),
    "an invoice is not in the journal": (
        "UPDATE journal_entry SET kind = 'other' WHERE kind = 'invoice'",
        ("invoiced", "*", "amount", "*", "0"),
    ),
    "an invoice is gone": (
        "DELETE FROM invoice WHERE run_no = 2",
        ("invoiced", "*", "amount", "0", "*"),
    ),
}


FAULTS |= CHARGES | DAYS | NAMES_NOTHING
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
