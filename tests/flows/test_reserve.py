"""What is reserved always fits, what would have fitted is never refused, and usage settles it."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ledger.domain.billing.reservation import Ask, Held
from ledger.domain.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    LedgerError,
    MissingInputError,
    NotFoundError,
    OverBudgetError,
)
from ledger.flows.billing.reserve import ask_for, find_holder, release, reserve
from ledger.flows.metering.release import release_suspense
from ledger.flows.reference.enter import (
    enter_alias,
    enter_price,
    enter_rate_card,
    enter_subscription,
)
from ledger.flows.reference.enter_budget import enter_budget
from ledger.store.connect import connect
from ledger.store.queries import Connection
from ledger.wire.budget_inputs import NewBudget, NewReservation
from ledger.wire.inputs import NewAlias, NewSubscription, read_input
from ledger.wire.price_inputs import NewPrice, NewRateCard
from tests.support.database import Database
from tests.support.usage import (
    AUTHOR,
    NOW,
    Gate,
    add_customer,
    attempt,
    correction,
    keyed,
    open_books,
)

SINCE = "2026-01-01T00:00:00Z"
AUGUST = datetime(2026, 8, 1, tzinfo=UTC)


@pytest.fixture
async def books(worker: Connection) -> Connection:
    """An entity with two customers, one of them on a card."""
    await open_books(worker)
    await add_customer(worker, "beta")
    prices = [
        {"meter": "input", "amount": "2", "valid_from": SINCE},
        {"meter": "cached_input", "amount": "1", "valid_from": SINCE},
        {"meter": "output", "amount": "10", "valid_from": SINCE},
        {"meter": "input", "model": "dear", "amount": "20", "valid_from": SINCE},
        {"meter": "input", "model": "long", "amount": "3", "valid_from": SINCE},
        *[
            {"meter": "input", "model": "long", "band_from": 200_000, "amount": "6"}
            | {"valid_from": SINCE}
        ],
    ]
    card = {"rate_card_id": "list", "entity_id": "factory", "name": "List", "currency": "EUR"}
    await enter_rate_card(worker, read_input(NewRateCard, card | {"prices": prices}), AUTHOR)
    subscription = {"subscription_id": "sub", "customer_id": "acme", "rate_card_id": "list"}
    new = read_input(NewSubscription, subscription | {"valid_from": SINCE})
    await enter_subscription(worker, new, AUTHOR)
    return worker


async def budget(connection: Connection, budget_id: str = "b", **said: Any) -> None:
    """A budget of acme: 1,000 tokens a day unless it is said otherwise."""
    plain = {"customer_id": "acme", "period": "day", "unit": "tokens", "amount": "1000"}
    new = plain | {"budget_id": budget_id, "valid_from": SINCE} | said
    replace = bool(new.pop("replace", False))
    await enter_budget(connection, read_input(NewBudget, new), AUTHOR, replace=replace)


def ask(reservation_id: str = "r1", tokens: int = 100, **said: Any) -> Ask:
    """A reservation of acme's, of output alone."""
    given = {"reservation_id": reservation_id, "customer_id": "acme", "model": "llama"}
    who = {
        name: said.pop(name)
        for name in ("own_customer", "only_customers", "only_entity")
        if name in said
    }
    new = read_input(NewReservation, given | {"output_tokens_max": tokens} | said)
    return ask_for(new, actor="key", **who)


async def one(connection: Connection, asked: Ask, *, now: datetime = NOW) -> Held | LedgerError:
    (found,) = await reserve(connection, [asked], now=now)
    return found


async def held(connection: Connection, *asked: Ask, now: datetime = NOW) -> Sequence[Held]:
    """All granted, one after the other."""
    found = [await one(connection, each, now=now) for each in asked]
    assert all(isinstance(each, Held) for each in found), found
    return [each for each in found if isinstance(each, Held)]


async def balances(
    connection: Connection,
) -> dict[tuple[str, str, datetime], tuple[Any, ...]]:
    """What is used and held, and that what is held is the sum of the holds."""
    rows = await connection.fetch(
        """SELECT b.*, (SELECT coalesce(sum(h.amount), 0) FROM reservation_hold h
                         WHERE h.budget_id = b.budget_id AND h.run_id = b.run_id
                           AND h.period_start = b.period_start) AS holds
             FROM budget_balance b"""
    )
    assert all(row["held"] == row["holds"] for row in rows)
    return {
        (row["budget_id"], row["run_id"], row["period_start"]): (row["used"], row["held"])
        for row in rows
    }


async def total(connection: Connection) -> tuple[Any, ...]:
    """Used and held of the one balance there is."""
    (found,) = (await balances(connection)).values()
    return found


async def test_it_is_held_while_it_fits_and_refused_beyond_it(books: Connection) -> None:
    await budget(books)
    (first, second) = await held(books, ask("r1", 600), ask("r2", 400))
    assert [hold.left for hold in (*first.holds, *second.holds)] == [400, 0]
    refused = await one(books, ask("r3", 1))
    assert isinstance(refused, OverBudgetError)
    assert "budget b, of whose 1000, 0 are used and 1000 held" in str(refused)
    assert await total(books) == (0, 1000)


async def test_behind_what_is_refused_what_fits_exactly_is_held(books: Connection) -> None:
    await budget(books)
    asked = [ask("r1", 600), ask("r2", 401), ask("r3", 400), ask("r4", 1)]
    found = await reserve(books, asked, now=NOW)
    assert [isinstance(each, Held) for each in found] == [True, False, True, False]
    assert await total(books) == (0, 1000)


async def test_a_budget_in_what_nothing_is_sold_in_is_refused(books: Connection) -> None:
    for currency in ("XQX", "JPY"):
        with pytest.raises(InvalidInputError, match=currency):
            await budget(books, unit="money", currency=currency)
    assert isinstance(await one(books, ask()), Held)


async def test_the_same_again_is_the_same_and_other_content_is_not(books: Connection) -> None:
    await budget(books)
    first, again = await held(books, ask("r1", 600), ask("r1", 600))
    assert [hold.amount for hold in again.holds] == [600]
    assert (again.expires_at, await total(books)) == (first.expires_at, (0, 600))
    assert isinstance(await one(books, ask("r1", 500)), ConflictError)


async def test_the_usage_event_settles_what_it_names_and_counts_what_it_was(
    books: Connection,
) -> None:
    await budget(books)
    gate = Gate(books)
    await held(books, ask("r1", 600), ask("r2", 100))
    await gate.send(keyed(attempt("e1", tokens=10, reservation_id="r1")))
    assert await total(books) == (30, 100)
    await gate.send(keyed(attempt("e1", tokens=10, reservation_id="r1")))
    assert await total(books) == (30, 100)
    await held(books, ask("r1", 600))
    assert await total(books) == (30, 100)
    assert await states(books) == {"r1": "settled"}


async def states(connection: Connection) -> dict[str, str]:
    """How reservations have ended."""
    rows = await connection.fetch("SELECT reservation_id, kind FROM reservation_end")
    return {row["reservation_id"]: row["kind"] for row in rows}


async def test_usage_beyond_what_was_held_counts_and_so_does_what_comes_late(
    books: Connection,
) -> None:
    await budget(books)
    gate = Gate(books)
    await held(books, ask("r1", 10, expires_in_s=60))
    later = NOW + timedelta(seconds=60)
    await held(books, ask("r2", 1000), now=later)
    await gate.send(keyed(attempt("e1", tokens=400, reservation_id="r1")), now=later)
    assert await total(books) == (1200, 1000)
    assert await states(books) == {"r1": "expired"}


async def test_what_expired_holds_nothing_though_nothing_has_run(books: Connection) -> None:
    await budget(books)
    await held(books, ask("r1", 1000, expires_in_s=60))
    assert isinstance(
        await one(books, ask("r2", 1), now=NOW + timedelta(seconds=59)), OverBudgetError
    )
    await held(books, ask("r2", 1000), now=NOW + timedelta(seconds=60))


async def test_what_is_released_is_free_again_and_stays_so(books: Connection) -> None:
    await budget(books)
    await held(books, ask("r1", 1000))
    for _ in range(2):
        state = await release(books, customer_id="acme", reservation_id="r1", now=NOW)
        assert state == "released"
    await held(books, ask("r2", 1000), ask("r1", 1000))
    assert await total(books) == (0, 1000)
    with pytest.raises(NotFoundError):
        await release(books, customer_id="beta", reservation_id="r1", now=NOW)


async def test_usage_without_a_reservation_counts_and_a_correction_moves_it(
    books: Connection,
) -> None:
    await budget(books)
    gate = Gate(books)
    await gate.send(keyed(attempt("e1", tokens=100)))
    assert await total(books) == (300, 0)
    await gate.send(keyed(correction("c1", of="e1", revision=1, tokens=20)))
    assert await total(books) == (60, 0)
    refused = await one(books, ask("r1", 941))
    assert isinstance(refused, OverBudgetError)
    await held(books, ask("r1", 940))


async def test_usage_out_of_suspense_counts(books: Connection) -> None:
    await budget(books)
    gate = Gate(books)
    await gate.send(keyed(attempt("e1", tokens=100, customer_id="crm-1")))
    assert await balances(books) == {}
    alias = {"alias": "crm-1", "customer_id": "acme", "valid_from": SINCE}
    await enter_alias(books, read_input(NewAlias, alias), AUTHOR)
    await release_suspense(books, directory=gate.directory, now=NOW)
    assert await total(books) == (300, 0)
    await held(books, ask("r1", 100, customer_id="crm-1"))
    assert await total(books) == (300, 100)


@pytest.mark.parametrize(
    ("said", "most"),
    [
        ({"output_tokens_max": 1_000_000}, "10"),
        ({"input_tokens_max": 1_000_000, "output_tokens_max": 0}, "2"),
        ({"input_tokens_max": 100, "output_tokens_max": 10}, "0.0003"),
        ({"model": "dear", "input_tokens_max": 100, "output_tokens_max": 0}, "0.002"),
        ({"model": "long", "input_tokens_max": 200_000, "output_tokens_max": 0}, "0.6"),
        ({"model": "long", "input_tokens_max": 200_001, "output_tokens_max": 0}, "1.200006"),
    ],
)
async def test_money_is_held_for_the_dearest_it_can_be(
    books: Connection, said: dict[str, Any], most: str
) -> None:
    await budget(books, unit="money", amount="1000")
    (found,) = await held(books, ask(**said))
    assert [hold.amount for hold in found.holds] == [Decimal(most)]


async def test_money_counts_by_the_price_of_what_it_was(books: Connection) -> None:
    await budget(books, unit="money", amount="1000")
    usage = {"input": {"uncached": 1_000_000, "cache_read": 2_000_000, "cache_write": 0}}
    usage["output"] = {"visible": 100_000, "reasoning": 50_000}
    await Gate(books).send(keyed(attempt("e1", usage=usage), attempt("e2", served_model="dear")))
    assert await total(books) == (Decimal("5.5") + Decimal("0.0004"), 0)


async def test_requests_are_held_and_counted_with_their_tokens(books: Connection) -> None:
    each = {"rate_card_id": "list", "meter": "requests", "amount": "2", "per": 1}
    for more in ({}, {"model": "free", "amount": "0"}):
        new = read_input(NewPrice, each | more | {"valid_from": SINCE})
        await enter_price(books, new, AUTHOR)
    await budget(books, unit="money", amount="10")
    first, second = await held(
        books,
        ask("r1", 100_000, requests=3),
        ask("r2", 100_000, requests=3, model="free"),
    )
    assert [hold.amount for hold in (*first.holds, *second.holds)] == [7, 1]
    assert isinstance(await one(books, ask("r3", 1, requests=2)), OverBudgetError)
    usage = {"input": {"uncached": 1_000_000}, "output": {"visible": 0, "reasoning": 0}}
    await Gate(books).send(keyed(attempt("e1", usage=usage, reservation_id="r1")))
    assert await total(books) == (4, 1)


PERIOD_PRICES: dict[str, dict[str, Any]] = {
    "graduated": {"tiers": ["0-1000:3", "1000-:1"], "per": 1},
    "volume": {"tiers": ["0-1000:3", "1000-:1"], "per": 1},
    "included": {"included": 1_000, "amount": "3", "per": 1},
    "package": {"amount": "30", "size": 10},
}


@pytest.mark.parametrize("kind", PERIOD_PRICES)
async def test_a_price_of_a_period_is_held_and_counted_at_its_dearest_unit(
    books: Connection, kind: str
) -> None:
    price = {"rate_card_id": "list", "meter": "output", "model": "staged", "kind": kind}
    new = read_input(NewPrice, price | PERIOD_PRICES[kind] | {"valid_from": SINCE})
    await enter_price(books, new, AUTHOR)
    await budget(books, unit="money", amount="1000")
    (found,) = await held(books, ask("r1", 300, model="staged"))
    assert [hold.amount for hold in found.holds] == [900]
    assert isinstance(await one(books, ask("r2", 34, model="staged")), OverBudgetError)
    used = attempt("e1", tokens=200, served_model="staged", reservation_id="r1")
    used["data"]["usage"] = {"input": {"uncached": 0}, "output": {"visible": 200}}
    await Gate(books).send(keyed(used))
    assert await total(books) == (600, 0)


async def test_what_has_no_price_cannot_be_held_in_money(books: Connection) -> None:
    card = {"rate_card_id": "dollars", "entity_id": "factory", "name": "List", "currency": "USD"}
    await enter_rate_card(books, read_input(NewRateCard, card), AUTHOR)
    await budget(books, unit="money", amount="1000", currency="USD")
    assert isinstance(await one(books, ask()), MissingInputError)
    await budget(books, "other", customer_id="beta", unit="money", amount="1000")
    assert isinstance(await one(books, ask(customer_id="beta")), MissingInputError)


async def test_all_budgets_it_falls_under_hold_it_or_none_does(books: Connection) -> None:
    await budget(books, "all")
    await budget(books, "agent", agent_id="helper", unit="requests", amount="1")
    await budget(books, "project", project_id="p", amount="100")
    first, second = await held(
        books, ask("r1", 100, agent_id="helper"), ask("r2", 100, project_id="p", agent_id="other")
    )
    assert [hold.budget_id for hold in first.holds] == ["agent", "all"]
    assert [hold.budget_id for hold in second.holds] == ["all", "project"]
    before = await balances(books)
    refused = await one(books, ask("r3", 100, agent_id="helper"))
    assert isinstance(refused, OverBudgetError)
    assert await balances(books) == before


async def test_each_run_has_its_own_and_must_be_named(books: Connection) -> None:
    await budget(books, agent_id="helper", period="run", amount="100")
    run = {"agent_id": "helper", "agent_run_id": "run-1"}
    await held(books, ask("r1", 100, **run), ask("r2", 100, **run | {"agent_run_id": "run-2"}))
    assert isinstance(await one(books, ask("r3", 1, **run)), OverBudgetError)
    assert isinstance(await one(books, ask("r4", 1, agent_id="helper")), InvalidInputError)
    used = attempt("e1", tokens=20, agent={"id": "helper", "run_id": "run-1"}, reservation_id="r1")
    await Gate(books).send(keyed(used))
    assert sorted((await balances(books)).values()) == [(0, 100), (60, 0)]


async def test_a_hold_stands_in_every_period_it_may_end_in(books: Connection) -> None:
    await budget(books, period="day", zone="Europe/Copenhagen")
    midnight = datetime(2026, 8, 6, 22, tzinfo=UTC)
    (found,) = await held(books, ask("r1", 700), now=midnight - timedelta(minutes=5))
    assert [hold.period_start for hold in found.holds] == [
        midnight - timedelta(days=1),
        midnight,
    ]
    assert isinstance(await one(books, ask("r2", 301), now=midnight), OverBudgetError)
    await held(books, ask("r2", 300), now=midnight)


@pytest.mark.parametrize(
    ("said", "at", "start"),
    [
        ({"period": "month", "anchor_day": 31}, "2026-02-27T12:00Z", "2026-01-31T00:00Z"),
        ({"period": "month", "anchor_day": 31}, "2026-02-28T12:00Z", "2026-02-28T00:00Z"),
        ({"period": "month", "anchor_day": 31}, "2026-03-30T12:00Z", "2026-02-28T00:00Z"),
        ({"period": "month", "anchor_day": 15}, "2026-03-15T00:00Z", "2026-03-15T00:00Z"),
        ({"period": "week"}, "2026-08-06T12:00Z", "2026-08-03T00:00Z"),
        ({"period": "hour", "zone": "Asia/Kolkata"}, "2026-08-06T12:10Z", "2026-08-06T11:30Z"),
        ({"period": "day", "zone": "Europe/Berlin"}, "2026-10-25T22:59Z", "2026-10-24T22:00Z"),
        ({"period": "day", "zone": "Europe/Berlin"}, "2026-10-25T23:00Z", "2026-10-25T23:00Z"),
        ({"period": "ever"}, "2026-08-06T12:00Z", "2000-01-01T00:00Z"),
    ],
)
async def test_periods_begin_where_their_zone_and_anchor_say(
    books: Connection, said: dict[str, Any], at: str, start: str
) -> None:
    await budget(books, **said)
    (found,) = await held(books, ask(expires_in_s=1), now=datetime.fromisoformat(at))
    assert [hold.period_start for hold in found.holds] == [datetime.fromisoformat(start)]


async def test_alerts_are_given_once_as_usage_crosses_them(books: Connection) -> None:
    await budget(books, hard=False, alert_percents=[50, 100])
    gate = Gate(books)
    for number, tokens in enumerate((100, 100, 100, 100)):
        await gate.send(keyed(attempt(f"e{number}", tokens=tokens)))
    await held(books, ask("r1", 10**9))
    alerts = await books.fetch("SELECT kind, percent, used FROM budget_alert ORDER BY percent")
    assert [tuple(row) for row in alerts] == [("used", 50, 600), ("used", 100, 1200)]


async def test_a_refusal_is_an_alert_once_a_period(books: Connection) -> None:
    await budget(books)
    for number in range(3):
        assert isinstance(await one(books, ask(f"r{number}", 1001)), OverBudgetError)
    alerts = await books.fetch("SELECT kind, ceiling FROM budget_alert")
    assert [tuple(row) for row in alerts] == [("refused", 1000)]


async def test_who_is_bound_reserves_for_its_own(books: Connection) -> None:
    await budget(books)
    bound = ask("r1", only_customers=("beta",))
    assert isinstance(await one(books, bound), ForbiddenError)
    assert isinstance(await one(books, ask("r1", only_entity="other")), ForbiddenError)
    assert isinstance(await one(books, ask("r1", customer_id="nobody")), NotFoundError)
    await held(books, ask("r1", only_customers=("acme",), only_entity="factory"))
    with pytest.raises(ForbiddenError):
        ask("r1", own_customer="beta")
    with pytest.raises(ForbiddenError):
        await find_holder(books, "acme", only_customers=("beta",), now=NOW)


async def test_one_customers_event_settles_no_reservation_of_another(books: Connection) -> None:
    await budget(books)
    await held(books, ask("r1", 600))
    await Gate(books).send(keyed(attempt("e1", customer_id="beta", reservation_id="r1")))
    assert await total(books) == (0, 600)


async def test_a_raised_budget_goes_on_with_what_is_used(books: Connection) -> None:
    # What is entered is counted by the clock, which ends what was held until a time that is over.
    now = datetime.now(UTC)
    await budget(books, period="ever")
    await held(books, ask("r1", 1000), now=now)
    await budget(books, period="ever", amount="1500", replace=True)
    await held(books, ask("r2", 500), now=now)
    with pytest.raises(ConflictError, match="already recorded with unit tokens"):
        await budget(books, period="ever", unit="requests", replace=True)
    assert await total(books) == (0, 1500)


async def test_a_thousand_at_once_fill_a_budget_exactly(
    books: Connection, database: Database
) -> None:
    await budget(books, amount="2000")
    connections = [await connect(database.worker_url) for _ in range(8)]

    async def some(connection: Connection, first: int) -> list[Held | LedgerError]:
        found = []
        for number in range(first, 1000, 8):
            found.append(await one(connection, ask(f"r{number}", 1 + number % 5)))
        return found

    try:
        answers = await asyncio.gather(*(some(c, n) for n, c in enumerate(connections)))
    finally:
        for connection in connections:
            await connection.close()
    refused = [each for found in answers for each in found if isinstance(each, LedgerError)]
    used, sum_held = await total(books)
    assert (used, sum_held) == (0, 2000)
    assert refused
    assert all(isinstance(each, OverBudgetError) for each in refused)


async def test_usage_and_reservations_at_once_wait_for_each_other_in_one_order(
    books: Connection, database: Database
) -> None:
    for name in ("b", "a", "c"):
        await budget(books, name, amount="1000000")
    await add_customer(books, "gamma")
    await budget(books, "g", customer_id="gamma", amount="1000000")
    connections = [await connect(database.worker_url) for _ in range(4)]

    async def work(connection: Connection, first: int) -> None:
        gate = Gate(connection)
        for number in range(first, 80, 4):
            who = ("acme", "gamma") if number % 2 else ("gamma", "acme")
            named = [ask(f"{each}-{number}", 50, customer_id=each) for each in who]
            answers = await reserve(connection, named, now=NOW)
            assert all(isinstance(each, Held) for each in answers)
            sent = [
                attempt(f"{each}-{number}", customer_id=each, reservation_id=f"{each}-{number}")
                for each in who
            ]
            await gate.send(keyed(*sent))

    try:
        await asyncio.gather(*(work(c, n) for n, c in enumerate(connections)))
    finally:
        for connection in connections:
            await connection.close()
    assert set((await balances(books)).values()) == {(80 * 30, 0)}
    assert set((await states(books)).values()) == {"settled"}
