"""Who pays for attempts that went wrong, and prices of projects and agents: up to the invoice."""

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from ledger.domain.errors import ConflictError, LedgerError
from ledger.domain.period import DAY
from ledger.domain.pricing.outcome import OUTCOMES, outcome_bits, outcome_names
from ledger.flows.billing.invoice import issue_invoice
from ledger.flows.books.check_books import check_books
from ledger.flows.pricing.rate import rate
from ledger.flows.reference.enter import enter_price
from ledger.store.billing.invoice import list_invoices, list_lines
from ledger.store.queries import Connection
from ledger.wire.errors import InputError
from ledger.wire.inputs import read_input
from ledger.wire.price_inputs import NewPrice
from tests.flows.billing import DECEMBER, NOVEMBER
from tests.flows.test_invoice_trace import AUGUST, SEPTEMBER, on_a_card, pages
from tests.flows.test_period_prices import (
    GRADUATED,
    MINIMUM,
    SINCE,
    agree,
    enter,
    issued,
    priced,
    revenue,
    settle,
)
from tests.support.books import Books, Buyer, Tokens
from tests.support.charges import change_charges, on_charges
from tests.support.database import Database, execute
from tests.support.usage import (
    AUTHOR,
    Event,
    Gate,
    attempt,
    correction,
    keyed,
    open_books,
    sequenced,
)

MILLION = Tokens(uncached=1_000_000)


def rule(outcome: str, pays: str = "house", **more: Any) -> dict[str, Any]:
    return {"meter": "outcome", "kind": "who_pays", "outcome": outcome, "pays": pays, **more}


def went(*outcomes: str, **more: Any) -> Buyer:
    return Buyer(outcomes=outcome_bits(outcomes), **more)


async def used(books: Books, *buyers: Buyer, tokens: Tokens = MILLION) -> None:
    for n, buyer in enumerate(buyers):
        await books.usage(NOVEMBER + n * DAY, tokens, buyer=buyer)


async def test_the_customer_pays_for_everything_unless_a_rule_says_otherwise(
    worker: Connection,
) -> None:
    books = await priced(worker)
    await used(books, went(), *map(went, OUTCOMES))
    await settle(worker)
    assert sum((await revenue(worker)).values()) == 5 * (1 + len(OUTCOMES))
    assert await issued(worker) == [
        ("Uncached input tokens, llama, tier standard", 9_000_000, "45")
    ]
    await agree(worker)


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_what_the_house_pays_for_is_a_line_of_nothing(
    worker: Connection, outcome: str
) -> None:
    other = OUTCOMES[(OUTCOMES.index(outcome) + 1) % len(OUTCOMES)]
    books = await priced(worker, rule(outcome))
    await used(books, went(), went(outcome), went(other), went(other, outcome))
    await settle(worker)
    assert await revenue(worker) == {1: Decimal(5), 3: Decimal(5)}
    await agree(worker)
    assert await issued(worker) == [
        ("Uncached input tokens, llama, tier standard", 2_000_000, "10"),
        (f"Uncached input tokens, llama, tier standard, {outcome}: not billed", 2_000_000, "0"),
    ]
    await agree(worker)


async def test_what_is_not_billed_reaches_no_tier_and_waits_for_no_price(
    worker: Connection,
) -> None:
    books = await priced(worker, GRADUATED, rule("aborted"), MINIMUM)
    tokens = Tokens(uncached=1_000_000, cache_read=7, output=900_000)
    await used(books, went("aborted"), tokens=tokens)
    await used(books, went(), tokens=Tokens(output=900_000))
    await settle(worker)
    # Nine for the first tier alone, and a minimum of sixty that it falls short of.
    assert sorted((units, amount) for _, units, amount in await issued(worker)) == [
        (1, "51"),
        (7, "0"),
        (900_000, "0"),
        (900_000, "9"),
        (1_000_000, "0"),
    ]
    waiting = "SELECT count(*) FROM charge WHERE unpriced IS NOT NULL"
    assert await worker.fetchval(waiting) == 0
    await agree(worker)


async def test_what_is_billed_though_the_house_pays_is_named(
    worker: Connection, superuser: Connection
) -> None:
    books = await priced(
        worker, rule("aborted"), rule("hedged", valid_from="2023-11-02T12:00:00Z"), MINIMUM
    )
    await used(books, went("aborted"), went("hedged"), went("retried"))
    await settle(worker)
    await agree(worker)
    await change_charges(
        superuser,
        """UPDATE charge c SET price_id = o.price_id, amount = c.quantity * 5 / 1e6
             FROM charge o WHERE o.amount = 5 AND c.amount = 0""",
    )
    found = [each for each in (await check_books(worker)).differences if each.table == "price"]
    assert [(each.name, each.expected) for each in found] == [
        ("price_id", "one by which the house pays")
    ]


async def test_the_most_specific_rule_of_an_outcome_decides_it(worker: Connection) -> None:
    books = await priced(
        worker,
        rule("retried"),
        rule("retried", "customer", model="qwen*"),
        rule("retried", "house", model="qwen*", project_id="lab"),
        rule("hedged", valid_from="2023-11-03T00:00:00Z"),
    )
    await used(
        books,
        went("retried"),
        went("retried", model="qwen-3"),
        went("retried", model="qwen-3", project_id="lab"),
        went("hedged", "retried", model="qwen-3"),
    )
    await settle(worker)
    assert await revenue(worker) == {2: Decimal(5)}
    await agree(worker)


async def test_a_rule_that_comes_late_moves_what_was_billed(worker: Connection) -> None:
    books = await priced(worker)
    await used(books, went("failed"))
    await settle(worker)
    await issued(worker)
    await enter(worker, **rule("failed"))
    await settle(worker)
    assert await revenue(worker) == {}
    await agree(worker)


SAID: dict[str, dict[str, Any]] = {
    "": {"status": "ok", "attempt": 1, "hedged": False, "complete": True},
    "aborted": {"status": "client_aborted"},
    "aborted, stopped": {"status": "budget_stopped"},
    "failed": {"status": "timeout"},
    "failed, refused": {"status": "rejected"},
    "failed, there": {"status": "provider_error"},
    "failed, here": {"status": "engine_error"},
    "filtered": {"status": "content_filtered"},
    "retried": {"attempt": 2},
    "retried, named": {"retry_of": "e1"},
    "hedged": {"hedged": True},
    "fallback": {"fallback_from": "dearer"},
    "estimated+incomplete": {"source": "char_estimate", "complete": False},
    "incomplete": {"complete": False},
    "aborted+retried+hedged": {"status": "client_aborted", "attempt": 3, "hedged": True},
}


def event_that(n: int, **said: Any) -> Event:
    of_usage = {name: said.pop(name) for name in ("source", "complete") if name in said}
    event = attempt(f"e{n}", minute=n, tokens=10, **said)
    event["data"]["usage"] |= of_usage
    return event


@pytest.mark.parametrize("as_batch", [False, True])
async def test_events_say_how_their_attempts_went(worker: Connection, as_batch: bool) -> None:
    await open_books(worker)
    events = [event_that(n, **said) for n, said in enumerate(SAID.values())]
    await Gate(worker).send(sequenced(events) if as_batch else keyed(*events))
    rows = await worker.fetch(
        """SELECT outcome_names(k.outcomes) AS outcome, count(*) FROM usage_fact f
             JOIN usage_key k USING (usage_key_id) GROUP BY 1"""
    )
    told = Counter(name.partition(",")[0] for name in SAID)
    assert {row["outcome"]: row["count"] for row in rows} == told


async def test_the_events_behind_both_lines_are_told_apart(worker: Connection) -> None:
    await open_books(worker)
    await on_a_card(worker, "acme")
    new = {"rate_card_id": "card-acme", "valid_from": "2026-01-01T00:00:00Z", **rule("aborted")}
    await enter_price(worker, read_input(NewPrice, new), AUTHOR)
    events = [event_that(n, **said) for n, said in enumerate(SAID.values())]
    await Gate(worker).send(keyed(*events))
    issued = await issue_invoice(
        worker, subscription_id="sub-acme", moment=AUGUST, now=SEPTEMBER, author=AUTHOR
    )
    (invoice,) = await list_invoices(worker)
    free = {f"e{n}" for n, name in enumerate(SAID) if name.startswith("aborted")}
    lines = await list_lines(worker, invoice_id=issued.invoice_id)
    assert len(lines) == 4
    for line in lines:
        found = {event.event_id for event in await pages(worker, line, invoice.cut_off_seq, 7)}
        assert found == (free if line.exact_amount == 0 else {e["id"] for e in events} - free)
    await agree(worker)


async def test_a_corrected_count_is_billed_as_it_went_at_last(worker: Connection) -> None:
    await open_books(worker)
    await on_a_card(worker, "acme")
    new = {"rate_card_id": "card-acme", "valid_from": "2026-01-01T00:00:00Z", **rule("estimated")}
    await enter_price(worker, read_input(NewPrice, new), AUTHOR)
    gate = Gate(worker)
    await gate.send(keyed(event_that(1, source="char_estimate", complete=False)))
    await rate(worker, now=SEPTEMBER)
    assert await worker.fetchval("SELECT sum(amount) FROM charge") == 0
    await gate.send(keyed(correction("c1", of="e1", revision=1, tokens=1_000_000)))
    await rate(worker, now=SEPTEMBER)
    assert await worker.fetchval("SELECT sum(amount) FROM charge") == 15
    await agree(worker)


async def test_prices_of_projects_and_agents_come_before_those_of_models(
    worker: Connection,
) -> None:
    books = await priced(
        worker,
        {"meter": "input", "model": "llama", "amount": "4"},
        {"meter": "input", "project_id": "lab", "amount": "3"},
        {"meter": "input", "agent_id": "bot", "amount": "2"},
        {"meter": "input", "agent_id": "bot", "project_id": "lab", "amount": "1"},
    )
    await used(
        books,
        Buyer(model="qwen"),
        Buyer(),
        Buyer(project_id="lab"),
        Buyer(agent_id="bot"),
        Buyer(agent_id="bot", project_id="lab"),
        Buyer(agent_id="other", project_id="other"),
    )
    await settle(worker)
    assert await revenue(worker) == {n: Decimal(a) for n, a in enumerate((5, 4, 3, 2, 1, 4), 1)}
    await agree(worker)
    said = "Uncached input tokens, llama, tier standard"
    assert sorted(await issued(worker)) == [
        (said, 2_000_000, "8"),
        (f"{said}, agent bot", 1_000_000, "2"),
        (f"{said}, project lab", 1_000_000, "3"),
        (f"{said}, project lab, agent bot", 1_000_000, "1"),
        (said.replace("llama", "qwen"), 1_000_000, "5"),
    ]
    await agree(worker)


async def test_tiers_and_discounts_may_be_a_projects_own(worker: Connection) -> None:
    off = {"meter": "discount", "kind": "percent_off", "percent": "50", "name": "Lab"}
    books = await priced(
        worker, {**GRADUATED, "project_id": "lab"}, {**off, "project_id": "lab", "on": "input"}
    )
    tokens = Tokens(uncached=1_000_000, output=500_000)
    await used(books, Buyer(project_id="lab"), tokens=tokens)
    await used(books, Buyer(project_id="shop"))
    await settle(worker)
    assert await revenue(worker) == {1: Decimal("12.5")}
    lines = [text for text, _, _ in await issued(worker)]
    assert "Output tokens, all models, project lab, first 1,000,000" in lines
    assert "Discount, project lab, Lab" in lines
    await agree(worker)


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"outcome": "lost"}, "outcome: found"),
        ({"pays": "nobody"}, "pays: found"),
        ({"pays": None}, "send it with kind who_pays"),
        ({"outcome": None}, "send it with kind who_pays"),
        ({"amount": "1"}, "leave it out with kind who_pays"),
        ({"meter": "input"}, "send outcome with kind who_pays"),
        ({"hours": "00:00-08:00 UTC"}, "leave it out of a outcome"),
        ({"band_from": 200_000}, "leave it out of a outcome"),
        ({"name": "mine"}, "leave it out"),
        ({"kind": "per_unit", "outcome": None, "pays": None, "amount": "1"}, "send who_pays"),
        (
            {"kind": "per_unit", "meter": "input", "pays": None, "amount": "1"},
            "leave it out with kind per_unit",
        ),
    ],
)
def test_a_rule_that_says_too_little_or_too_much_is_refused(
    said: dict[str, Any], wrong: str
) -> None:
    whole = {"rate_card_id": "c", "valid_from": SINCE} | rule("aborted") | said
    with pytest.raises(InputError, match=wrong):
        read_input(NewPrice, {name: value for name, value in whole.items() if value is not None})


async def test_two_rules_of_one_outcome_are_refused(worker: Connection) -> None:
    await priced(worker, rule("aborted"), rule("failed"))
    with pytest.raises(LedgerError, match="already"):
        await enter(worker, **rule("aborted", "customer"))
    with pytest.raises(ConflictError):
        await enter(worker, **rule("failed", "customer"), valid_from=DECEMBER.isoformat())


async def test_the_database_calls_outcomes_as_the_domain_does(worker: Connection) -> None:
    assert await worker.fetchval("SELECT outcomes()") == list(OUTCOMES)
    for bits in (0, 1, 5, 255):
        names = "+".join(outcome_names(bits))
        assert await worker.fetchval("SELECT outcome_names($1)", bits) == names
        assert outcome_bits(outcome_names(bits)) == bits


@pytest.mark.parametrize(
    "fault", [on_charges("UPDATE charge SET amount = 1"), "UPDATE usage_key SET outcomes = 2"]
)
async def test_what_the_house_pays_for_is_proved(
    database: Database, worker: Connection, fault: str
) -> None:
    books = await priced(worker, rule("aborted"))
    await used(books, went("aborted"))
    await settle(worker)
    await agree(worker)
    # Someone whom no trigger holds back.
    await execute(database.superuser_url, f"SET session_replication_role = replica; {fault}")
    assert (await check_books(worker)).proofs["price"] > 0
