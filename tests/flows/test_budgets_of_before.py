"""A budget knows what was used before it was entered, once, whatever is stored meanwhile."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from ledger.domain.errors import OverBudgetError
from ledger.store.connect import connect
from ledger.store.queries import Connection
from tests.flows.test_reserve import ask, balances, books, budget, held, one
from tests.support.database import Database
from tests.support.usage import Gate, attempt, correction, keyed

__all__ = ["books"]


@pytest.mark.parametrize(
    ("said", "used"),
    [
        ({}, 2_100),
        ({"unit": "requests", "amount": "9"}, 3),
        ({"unit": "money", "amount": "1"}, Decimal("0.0154")),
        ({"period": "month"}, 4_500),
        ({"period": "ever"}, 4_500),
        ({"agent_id": "helper"}, 600),
        ({"agent_id": "nobody"}, 0),
        ({"valid_from": "2026-08-06T00:00:00Z", "period": "month"}, 2_100),
    ],
    ids=lambda value: None if isinstance(value, int | Decimal) else "-".join(map(str, value)),
)
async def test_a_budget_knows_what_was_used_before_it(
    books: Connection, said: dict[str, Any], used: int | Decimal
) -> None:
    gate = Gate(books)
    old = attempt("old", tokens=800)
    old["time"] = "2026-08-05T11:00:00Z"
    helper = attempt("by an agent", minute=2, tokens=200)
    helper["data"]["agent"] = {"id": "helper"}
    await gate.send(keyed(old, attempt("a", minute=1, tokens=400), helper))
    await gate.send(keyed(attempt("b", minute=1, tokens=50)))
    await gate.send(keyed(correction("c", of="b", revision=1, tokens=100, minute=1)))
    await budget(books, **said)
    found = await balances(books)
    assert found[max(found)] == (used, 0)
    await budget(books, **said)
    assert await balances(books) == found


async def test_a_budget_that_is_used_up_as_it_is_entered_refuses_and_says_so(
    books: Connection,
) -> None:
    await Gate(books).send(keyed(attempt("a", minute=1, tokens=300)))
    await budget(books)
    assert isinstance(await one(books, ask(tokens=101)), OverBudgetError)
    await held(books, ask(tokens=100))
    kinds = await books.fetch("SELECT kind, percent FROM budget_alert ORDER BY alert_id")
    assert [tuple(row) for row in kinds] == [("used", 80), ("refused", 0)]


async def test_usage_that_comes_as_a_budget_is_entered_counts_once(
    books: Connection, database: Database
) -> None:
    await budget(books, "first")
    other = await connect(database.worker_url)
    gate = Gate(other)

    async def send() -> None:
        for n in range(20):
            await gate.send(keyed(attempt(f"e{n}", minute=n, tokens=10)))

    async def enter() -> None:
        for n in range(5):
            await budget(books, f"b{n}", amount="100000")

    try:
        await asyncio.gather(send(), enter())
    finally:
        await other.close()
    assert {used for used, _ in (await balances(books)).values()} == {600}
