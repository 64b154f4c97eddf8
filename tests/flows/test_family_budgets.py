"""What those below a customer use counts in its budgets, whether it came before or after them."""

from typing import Any

import pytest

from ledger.flows.reference.count_entered import count_entered
from ledger.flows.reference.enter_parent import enter_parent
from ledger.store.queries import Connection
from ledger.wire.inputs import read_input
from ledger.wire.party_inputs import NewParent
from tests.flows.test_reserve import SINCE, ask, balances, books, budget, held
from tests.support.usage import AUTHOR, Gate, add_customer, attempt, keyed

__all__ = ["books"]


async def test_a_childs_event_settles_and_counts_above_it(books: Connection) -> None:
    child: dict[str, Any] = {"customer_id": "beta", "parent_id": "acme", "valid_from": SINCE}
    moved = {**child, "parent_id": None, "valid_from": "2026-08-06T11:30:00Z"}
    gate = Gate(books)
    await gate.send(keyed(attempt("before", tokens=1, customer_id="beta")))
    await enter_parent(books, read_input(NewParent, child), AUTHOR)
    for unit, amount in (("tokens", "1000"), ("money", "5")):
        await budget(books, unit, unit=unit, amount=amount)
    assert sorted(await _sums(books)) == [("money", "0.000022", "0"), ("tokens", "3", "0")]
    await held(books, ask("r1", 600, customer_id="beta"))
    assert sorted(await _sums(books)) == [("money", "0.000022", "0.006"), ("tokens", "3", "600")]
    await gate.send(keyed(attempt("e1", customer_id="beta", reservation_id="r1")))
    assert sorted(await _sums(books)) == [("money", "0.000242", "0"), ("tokens", "33", "0")]
    # Nobody is above it from half past eleven on, and it has no budget of its own.
    await enter_parent(books, read_input(NewParent, moved), AUTHOR, replace=True)
    await gate.send(keyed(attempt("e2", customer_id="beta", minute=40)))
    assert sorted(await _sums(books)) == [("money", "0.000242", "0"), ("tokens", "33", "0")]


@pytest.mark.parametrize("within_another", [False, True])
async def test_what_a_child_used_before_it_was_one_counts_above_it(
    books: Connection, within_another: bool
) -> None:
    await add_customer(books, "gamma")
    await budget(books, "tokens")
    gate = Gate(books)
    used = attempt("of beta", tokens=30, customer_id="beta")
    await gate.send(keyed(attempt("own", tokens=7), used))
    await gate.send(keyed(attempt("below beta", tokens=2, customer_id="gamma")))
    for child, parent in (("gamma", "beta"), ("beta", "acme")):
        if within_another:
            async with books.transaction():
                await _be_child(books, child, parent)
        else:
            await _be_child(books, child, parent)
    assert await count_entered(books) == (1 if within_another else 0)
    assert await _sums(books) == [("tokens", "117", "0")]
    await gate.send(keyed(attempt("behind", tokens=1, customer_id="gamma")))
    assert await _sums(books) == [("tokens", "120", "0")]
    # It never was one.
    await _be_child(books, "beta", None)
    assert await _sums(books) == [("tokens", "21", "0")]
    await gate.send(keyed(attempt("of nobody's", tokens=1, customer_id="gamma")))
    assert await _sums(books) == [("tokens", "21", "0")]


async def test_a_budget_whose_only_user_never_was_below_it_has_counted_nothing(
    books: Connection,
) -> None:
    await _be_child(books, "beta", "acme")
    await budget(books, "tokens")
    await Gate(books).send(keyed(attempt(tokens=30, customer_id="beta")))
    assert await _sums(books) == [("tokens", "90", "0")]
    await _be_child(books, "beta", None)
    assert await _sums(books) == [("tokens", "0", "0")]


async def _be_child(connection: Connection, child: str, parent: str | None) -> None:
    said = {"customer_id": child, "parent_id": parent, "valid_from": SINCE}
    await enter_parent(connection, read_input(NewParent, said), AUTHOR, replace=True)


async def _sums(connection: Connection) -> list[tuple[str, str, str]]:
    return [
        (name, f"{used.normalize():f}", f"{held_now.normalize():f}")
        for (name, _, _), (used, held_now) in (await balances(connection)).items()
    ]
