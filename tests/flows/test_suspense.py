"""Usage of an unknown customer waits with its cost, and is moved once its customer is known."""

import pytest

from ledger.flows.metering.release import release_suspense
from ledger.flows.reference.enter import enter_alias
from ledger.store.metering.suspense import list_suspended_refs
from ledger.store.queries import Connection
from ledger.wire.inputs import NewAlias, read_input
from tests.support.usage import (
    AUTHOR,
    NOW,
    Gate,
    activity,
    add_customer,
    attempt,
    correction,
    fates,
    keyed,
    open_books,
    windows,
    windows_of_facts,
)


@pytest.fixture
async def gate(worker: Connection) -> Gate:
    await open_books(worker)
    return Gate(worker)


async def release(gate: Gate, ref: str | None = None) -> int:
    return await release_suspense(gate.connection, ref, directory=gate.directory, now=NOW)


async def test_suspense_is_released_once_the_customer_is_known(gate: Gate) -> None:
    strange = keyed(attempt("a", customer_id="globex"), attempt("b", customer_id="globex"))
    assert await gate.outcomes(strange) == ["suspense"] * 2
    assert await release(gate) == 0
    masks = await gate.connection.fetch("SELECT * FROM activity_mask")
    await add_customer(gate.connection, "globex")
    assert await release(gate) == 2
    assert await release(gate) == await release(gate, "globex") == 0
    (window,) = found = await windows(gate.connection)
    assert (window[0], window[8]) == ("globex", "globex")
    assert window[5:8] == (2, 20, 40)
    assert await windows_of_facts(gate.connection) == found
    assert [row[4:] for row in await activity(gate.connection)] == [("globex", 20, 40)]
    assert await gate.connection.fetch("SELECT * FROM activity_mask") == masks
    assert await list_suspended_refs(gate.connection) == []
    changes = await gate.connection.fetch("SELECT from_fate, to_fate FROM fate_change")
    assert [tuple(row) for row in changes] == [("suspense", "counted")] * 2


async def test_a_dated_name_releases_what_happened_while_it_was_valid(gate: Gate) -> None:
    sent = [
        attempt("a", customer_id="crm-7", minute=5),
        attempt("b", customer_id="crm-7", minute=50),
    ]
    await gate.send(keyed(*sent))
    alias = {"alias": "crm-7", "customer_id": "acme", "valid_from": "2026-08-06T11:30:00Z"}
    await enter_alias(gate.connection, read_input(NewAlias, alias), AUTHOR)
    assert await release(gate) == 1
    found = [(row[0], row[4].minute) for row in await windows(gate.connection)]
    assert sorted(found, key=str) == [("acme", 45), (None, 0)]


async def test_what_was_superseded_is_not_released_and_what_was_released_is_corrected(
    gate: Gate,
) -> None:
    original = attempt("a", customer_id="globex")
    await gate.send(
        keyed(original, correction("c", of="a", revision=1, customer_id="globex", tokens=7))
    )
    await add_customer(gate.connection, "globex")
    assert await release(gate) == 1
    later = correction("d", of="a", revision=2, customer_id="globex", tokens=9)
    assert await gate.outcomes(keyed(later)) == ["created"]
    (window,) = found = await windows(gate.connection)
    assert window[5:8] == (1, 9, 18)
    assert window[0] == "globex"
    assert await windows_of_facts(gate.connection) == found


async def test_fates_add_up_whatever_becomes_of_an_event(gate: Gate) -> None:
    events = [
        attempt("a"),
        attempt("a"),
        attempt("a", tokens=1),
        attempt("b", customer_id="who"),
        attempt("c") | {"time": "noon"},
        correction("d", of="a", revision=1),
    ]
    await gate.send(keyed(*events))
    assert await fates(gate.connection) == {
        "received": 6,
        "counted": 1,
        "duplicate": 1,
        "conflict": 1,
        "suspense": 1,
        "quarantined": 1,
        "superseded": 1,
    }
