"""A budget knows what was used before it was entered, once, whatever is stored meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from ledger.domain.author import Author
from ledger.domain.errors import OverBudgetError
from ledger.flows.metering.commit_order import CommitOrder
from ledger.flows.metering.ingest import prepare_records, resolve_prepared, store_prepared
from ledger.flows.metering.limits import IngestLimits
from ledger.flows.reference.count_entered import count_entered
from ledger.flows.reference.enter_budget import enter_budget
from ledger.flows.reference.import_rows import import_rows
from ledger.store.connect import connect
from ledger.store.queries import Connection
from ledger.wire.budget_inputs import NewBudget
from ledger.wire.inputs import read_input
from tests.flows.test_cut_off import HeldTurn
from tests.flows.test_reserve import SINCE, ask, balances, books, budget, held, one
from tests.support.database import Database
from tests.support.usage import AUTHOR, NOW, Event, Gate, attempt, correction, keyed
from tests.support.waiting import until

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


def chunked(connection: Connection) -> Gate:
    """What a gate takes from here is a chunk, and its sums follow."""
    return Gate(connection, IngestLimits(chunk_facts=1))


@asynccontextmanager
async def entering(
    connection: Connection, budget_id: str = "b", **said: Any
) -> AsyncIterator[None]:
    """A budget that is entered and not seen by anybody yet, as where it is entered with others."""
    async with connection.transaction():
        await budget(connection, budget_id, **said)
        yield


@pytest.fixture
async def other(books: Connection, database: Database) -> AsyncIterator[Connection]:
    connection = await connect(database.worker_url)
    yield connection
    await connection.close()


async def used(connection: Connection) -> dict[str, int]:
    """What is used of each budget, and that nobody waits to be counted."""
    assert await count_entered(connection) == 0
    assert not await connection.fetchval("SELECT count(*) FROM entered_budget")
    assert not await connection.fetchval("SELECT count(*) FROM counted_meanwhile")
    return {name: int(amount) for (name, _, _), (amount, _) in (await balances(connection)).items()}


@pytest.mark.parametrize("gate_of", [Gate, chunked])
async def test_what_is_stored_before_anybody_sees_the_budget_counts(
    books: Connection, other: Connection, gate_of: Callable[[Connection], Gate]
) -> None:
    gate = gate_of(other)
    await gate.send(keyed(attempt("a")))
    async with entering(books):
        await gate.send(keyed(attempt("b", minute=1)))
    await gate.send(keyed(attempt("c", minute=2)))
    assert await count_entered(books) == 1
    assert await used(books) == {"b": 90}


@pytest.mark.parametrize("known", [(), ("first",)])
async def test_a_batch_that_is_open_as_a_budget_is_entered_counts(
    books: Connection, other: Connection, known: Sequence[str]
) -> None:
    for name in known:
        await budget(books, name)
    turn, gate = HeldTurn(), Gate(other)
    batch = asyncio.create_task(stored(gate, attempt("a"), order=turn))
    await turn.copied.wait()
    async with entering(books):
        pass
    # It waits no longer than it is told to, and leaves it to who comes next.
    assert await count_entered(books, patience_s=0.05) == 0
    turn.go_on.set()
    await batch
    assert await count_entered(books) == 1
    assert await used(books) == dict.fromkeys([*known, "b"], 30)


async def test_a_batch_that_counts_while_a_budget_is_entered_counts_in_it_once(
    books: Connection, other: Connection, database: Database
) -> None:
    await budget(books, "first")
    await Gate(books).send(keyed(attempt("a")))
    async with locked(database, "SELECT FROM budget_balance FOR UPDATE") as blocker:
        # It has found the budgets it falls under, and waits for their rows.
        batch = asyncio.create_task(Gate(other).send(keyed(attempt("b", minute=1))))
        await until(lambda: waits(blocker, 1))
        await budget(books, "second")
    await batch
    await count_entered(books)
    assert await used(books) == {"first": 60, "second": 60}


async def test_facts_that_were_made_ready_before_a_budget_count_in_it(
    books: Connection, other: Connection
) -> None:
    gate = Gate(other)
    prepared = await prepare_records([keyed(attempt("a"))], now=NOW, limits=gate.limits)
    given: dict[str, Any] = {"directory": gate.directory, "now": NOW, "limits": gate.limits}
    resolved = await resolve_prepared(other, prepared, **given)
    await budget(books)
    await store_prepared(other, prepared, **given, resolved=resolved)
    assert await used(books) == {"b": 30}


@pytest.mark.parametrize("gate_of", [Gate, chunked])
async def test_what_counts_itself_while_earlier_use_is_added_up_counts_once(
    books: Connection, other: Connection, database: Database, gate_of: Callable[[Connection], Gate]
) -> None:
    gate = gate_of(other)
    await gate.send(keyed(attempt("a")))
    async with entering(books):
        await gate.send(keyed(attempt("b", minute=1)))
    async with locked(database, "SELECT FROM entered_budget FOR UPDATE") as blocker:
        counting = asyncio.create_task(count_entered(books))
        await until(lambda: waits(blocker, 1))
        # Behind the cut-off up to which it was added up; it sees the budget.
        await gate.send(keyed(attempt("c", minute=2)))
    assert await counting == 1
    await gate.send(keyed(attempt("d", minute=3)))
    assert await used(books) == {"b": 120}


async def test_two_who_count_the_same_budget_count_it_once(
    books: Connection, other: Connection, database: Database
) -> None:
    async with entering(books):
        await Gate(other).send(keyed(attempt("a")))
    async with locked(database, "SELECT FROM entered_budget FOR UPDATE") as blocker:
        both = [asyncio.create_task(count_entered(each)) for each in (books, other)]
        await until(lambda: waits(blocker, 2))
    assert sorted(await asyncio.gather(*both)) == [0, 1]
    assert await used(books) == {"b": 30}


async def test_who_counts_and_who_stores_never_wait_for_each_other(
    books: Connection, other: Connection, database: Database
) -> None:
    yesterday = attempt("y")
    yesterday["time"] = "2026-08-05T11:00:00Z"
    await Gate(other).send(keyed(yesterday, attempt("t")))
    # It has a row of yesterday alone, and is to have one of today.
    await budget(books, valid_to="2026-08-06T00:00:00Z")
    late = {**attempt("late"), "time": "2026-08-05T12:00:00Z"}
    async with locked(database, "SELECT FROM budget_balance FOR UPDATE") as blocker:
        replacing = asyncio.create_task(budget(books, replace=True))
        await until(lambda: waits(blocker, 1))
        batch = asyncio.create_task(Gate(other).send(keyed(late, attempt("now", minute=1))))
        await until(lambda: waits(blocker, 2))
    await asyncio.gather(replacing, batch)
    assert sorted(amount for amount, _ in (await balances(books)).values()) == [60, 60]
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert await books.fetchval(deadlocks) == 0


async def test_an_import_counts_what_came_while_it_went_on(
    books: Connection, other: Connection
) -> None:
    gate, rows = chunked(other), []
    for n in range(3):
        said = {"customer_id": "acme", "period": "day", "unit": "tokens", "amount": "1000"}
        new = read_input(NewBudget, said | {"budget_id": f"b{n}", "valid_from": SINCE})
        rows.append((n + 1, new))

    async def enter(connection: Connection, new: NewBudget, author: Author) -> None:
        await enter_budget(connection, new, author)
        await gate.send(keyed(attempt(f"beside {new.budget_id}")))

    await gate.send(keyed(attempt("before")))
    await import_rows(books, enter, rows, author=AUTHOR)
    assert await used(books) == dict.fromkeys(("b0", "b1", "b2"), 120)


async def test_usage_that_comes_as_a_budget_is_entered_counts_once(
    books: Connection, other: Connection, database: Database
) -> None:
    third = await connect(database.worker_url)

    async def send(gate: Gate, kind: str) -> None:
        for n in range(20):
            await gate.send(keyed(attempt(f"{kind}{n}", minute=n, tokens=10)))

    async def enter() -> None:
        for n in range(5):
            if n % 2:
                await budget(books, f"b{n}", amount="100000")
                continue
            async with entering(books, f"b{n}", amount="100000"):
                await asyncio.sleep(0.05)
            await count_entered(books)

    try:
        await asyncio.gather(send(Gate(other), "few"), send(chunked(third), "many"), enter())
    finally:
        await third.close()
    await count_entered(books)
    assert await used(books) == {f"b{n}": 1_200 for n in range(5)}


async def stored(gate: Gate, *events: Event, order: CommitOrder) -> None:
    """One record, in its turn."""
    prepared = await prepare_records([keyed(*events)], now=NOW, limits=gate.limits)
    given: dict[str, Any] = {"directory": gate.directory, "now": NOW, "limits": gate.limits}
    await store_prepared(gate.connection, prepared, **given, order=order)


@asynccontextmanager
async def locked(database: Database, rows: str) -> AsyncIterator[Connection]:
    """Rows that are locked until left."""
    blocker = await connect(database.superuser_url)
    try:
        async with blocker.transaction():
            await blocker.execute(rows)
            yield blocker
    finally:
        await blocker.close()


async def waits(blocker: Connection, sessions: int) -> bool:
    """Whether so many wait for another session's rows."""
    found = await blocker.fetchval(
        """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
            AND wait_event_type = 'Lock' AND wait_event IN ('transactionid', 'tuple')"""
    )
    return bool(found >= sessions)
