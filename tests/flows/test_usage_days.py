"""What of a preview's usage is not final: that of the subscription it bills, read by day."""

from datetime import timedelta
from typing import Any

import pytest

from ledger.domain.metering.fact import MARKS
from ledger.flows.billing.invoice import preview_invoice
from ledger.flows.books.check_books import check_books
from ledger.flows.metering.fold import fold
from ledger.flows.pricing.rate import rate
from ledger.flows.reference.enter_parent import enter_parent
from ledger.store.queries import Connection
from ledger.wire.inputs import read_input
from ledger.wire.party_inputs import NewParent
from tests.flows.test_invoice_trace import AUGUST, SEPTEMBER, on_a_card
from tests.flows.test_usage_marks import marked, one_sided
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

ROWS = "SELECT count(*) FROM usage_day"


@pytest.fixture
async def gate(worker: Connection) -> Gate:
    """acme, which pays for lab, and beta; each of the two on a card."""
    await open_books(worker)
    for customer_id in ("lab", "beta"):
        await add_customer(worker, customer_id)
    for customer_id in ("acme", "beta"):
        await on_a_card(worker, customer_id)
    child = {"customer_id": "lab", "parent_id": "acme", "valid_from": "2026-01-01T00:00:00Z"}
    await enter_parent(worker, read_input(NewParent, child), AUTHOR)
    return Gate(worker)


async def unfinal(connection: Connection, customer_id: str) -> dict[str, int]:
    """What a preview says of its usage, without what is none of it."""
    draft = await preview_invoice(
        connection, subscription_id=f"sub-{customer_id}", moment=AUGUST, now=SEPTEMBER
    )
    assert set(draft.marks) == {"requests", *MARKS}
    return {name: count for name, count in draft.marks.items() if count}


def guessed(event_id: str, **said: Any) -> Any:
    return marked(event_id, source="char_estimate", complete=False, **said)


async def test_it_is_of_everybody_whom_the_invoice_bills_and_of_nobody_else(gate: Gate) -> None:
    await gate.send(
        keyed(
            attempt("plain"),
            guessed("mine", requests=7),
            guessed("of a child", requests=5, customer_id="lab"),
            one_sided("of another", "input", customer_id="beta"),
            guessed("of nobody", customer_id="who"),
        )
    )
    assert await unfinal(gate.connection, "acme") == {
        "requests": 13,
        "estimated": 12,
        "incomplete": 12,
    }
    assert await unfinal(gate.connection, "beta") == {"requests": 1, "output_unknown": 1}


async def test_it_follows_what_comes_later_and_nothing_else_is_written(gate: Gate) -> None:
    await gate.send(keyed(guessed("e"), attempt("f")))
    before = {"requests": 2, "estimated": 1, "incomplete": 1}
    assert await unfinal(gate.connection, "acme") == before
    rows = await gate.connection.fetchval(ROWS)
    await fold(gate.connection)
    assert await unfinal(gate.connection, "acme") == before
    assert await gate.connection.fetchval(ROWS) == rows == 1
    # The same counts, but final: no window moves, what they lack does.
    await gate.send(keyed(correction("e.1", of="e", revision=1)))
    assert await unfinal(gate.connection, "acme") == {"requests": 2}
    await gate.send(keyed(attempt("g", minute=40)))
    await rate(gate.connection, now=SEPTEMBER + timedelta(days=1))
    assert (await unfinal(gate.connection, "acme"))["requests"] == 3


async def test_check_adds_it_up_from_the_windows(gate: Gate, owner: Connection) -> None:
    await gate.send(keyed(guessed("e"), attempt("f"), attempt("g", customer_id="lab")))
    await rate(gate.connection, now=NOW)
    assert (await check_books(gate.connection)).proofs["usage_day"] == 0
    await owner.execute("ALTER TABLE usage_day DISABLE TRIGGER append_only")
    await owner.execute("UPDATE usage_day SET estimated = 9 WHERE customer_id = 'acme'")
    await owner.execute("DELETE FROM usage_day WHERE customer_id = 'lab'")
    found = await check_books(gate.connection)
    assert found.proofs["usage_day"] == 2
    assert [
        (each.where, each.name, each.expected, each.stored)
        for each in found.differences
        if each.table == "usage_day"
    ] == [("acme", "estimated", "1", "9"), ("lab", "requests", "1", "0")]
