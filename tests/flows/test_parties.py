"""Entities and customers change from a day on; what was, and what invoices said, stays."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.domain.errors import ConflictError, NotFoundError
from ledger.flows.billing.invoice import issue_invoice, preview_invoice
from ledger.flows.reference.parties import change_customer, change_entity, enter_customer
from ledger.flows.reference.resources import BY_WORD, show_one
from ledger.store.queries import Connection
from ledger.wire.changes import CustomerChange, EntityChange
from ledger.wire.errors import InputError
from ledger.wire.inputs import read_input
from ledger.wire.party_inputs import NewCustomer
from tests.flows.billing import ACME, NOVEMBER, NOW, WINDOW, settled, subscribed
from tests.flows.slow_facts import AUTHOR, CUSTOMER, enter_parties
from tests.support.books import Tokens
from tests.support.examples import at_depth

DAYS = [date(2024, 1, 1) + timedelta(days=n) for n in range(6)]
JANUARY_2030 = datetime(2030, 1, 1, tzinfo=UTC)
NAMES = st.sampled_from(["A", "B", "C"])
CHANGE = st.tuples(
    st.integers(0, 4), st.integers(1, 5), st.none() | NAMES, st.none() | st.integers(0, 9)
).filter(lambda one: one[2] is not None or one[3] is not None)


@pytest.fixture
async def parties(worker: Connection) -> Connection:
    """Books with an entity; each example adds a customer."""
    await enter_parties(worker)
    return worker


def customer_change(**changes: Any) -> CustomerChange:
    return read_input(CustomerChange, {"customer_id": "acme", **changes})


async def versions(connection: Connection, kind: str, one: str) -> list[dict[str, Any]]:
    found = await show_one(connection, BY_WORD[kind], one, now=NOW)
    assert found is not None
    return [dict(each) for each in found.versions]


async def test_a_change_holds_from_the_entitys_midnight_and_leaves_the_rest(
    worker: Connection,
) -> None:
    await enter_parties(worker)
    change = customer_change(valid_from="2024-07-01", address="Street 2", email="a@acme.test")
    await change_customer(worker, change, AUTHOR)
    before, after = await versions(worker, "customer", "acme")
    berlin = datetime(2024, 6, 30, 22, tzinfo=UTC)
    assert (before["address"], before["valid_to"]) == ("", berlin)
    assert (after["address"], after["email"], after["valid_from"]) == (
        *("Street 2", "a@acme.test"),
        berlin,
    )
    assert (after["name"], after["valid_to"]) == ("Acme", None)
    written = await worker.fetchval("SELECT count(*) FROM manual_write")
    await change_customer(worker, change, AUTHOR)
    assert await worker.fetchval("SELECT count(*) FROM manual_write") == written


async def test_what_was_recorded_before_a_change_is_kept(worker: Connection) -> None:
    await enter_parties(worker)
    seq = await worker.fetchval("SELECT max(batch_seq) FROM manual_write")
    await change_customer(worker, customer_change(valid_from="2024-07-01", name="Acme 2"), AUTHOR)
    known = await worker.fetch("SELECT name FROM customer_detail WHERE recorded @> $1::bigint", seq)
    assert [row["name"] for row in known] == ["Acme"]


async def test_an_issued_invoice_keeps_its_parties_and_the_next_has_the_new(
    worker: Connection,
) -> None:
    books = await subscribed(worker)
    await books.usage(WINDOW, Tokens(uncached=10_000), buyer=ACME)
    await settled(worker)
    await issue_invoice(worker, subscription_id="sub-acme", moment=NOVEMBER, now=NOW, author=AUTHOR)
    change = customer_change(valid_from="2024-01-01", name="Acme 2", payment_days=14)
    await change_customer(worker, change, AUTHOR)
    seller = read_input(
        EntityChange, {"entity_id": "factory", "valid_from": "2024-01-01", "address": "Road 9"}
    )
    await change_entity(worker, seller, AUTHOR)
    snapshot = await worker.fetchval("SELECT snapshot FROM invoice")
    assert (snapshot["buyer"]["name"], snapshot["seller"]["address"]) == ("Acme", "")
    assert snapshot["payment_days"] == 30
    for now, expected in (
        (NOW, ("Acme", "", 30)),
        (NOW.replace(2024, 2), ("Acme 2", "Road 9", 14)),
    ):
        draft = await preview_invoice(worker, subscription_id="sub-acme", moment=NOVEMBER, now=now)
        said = draft.agreement
        assert (said.buyer.name, said.seller.address, said.terms.payment_days) == expected


async def test_entering_again_is_known_before_and_after_a_change_and_else_says_how(
    worker: Connection,
) -> None:
    await enter_parties(worker)
    await change_customer(worker, customer_change(valid_from="2024-07-01", name="Acme 2"), AUTHOR)
    await enter_parties(worker)
    await enter_customer(worker, read_input(NewCustomer, CUSTOMER | {"name": "Acme 2"}), AUTHOR)
    with pytest.raises(ConflictError, match="tokenledger change customer"):
        await enter_customer(worker, read_input(NewCustomer, CUSTOMER | {"name": "Z"}), AUTHOR)
    other = read_input(NewCustomer, CUSTOMER | {"kind": "ai_agent"})
    with pytest.raises(ConflictError, match="this stays of a customer"):
        await enter_customer(worker, other, AUTHOR)


async def test_only_what_exists_changes(worker: Connection) -> None:
    with pytest.raises(NotFoundError, match="no customer acme"):
        await change_customer(worker, customer_change(valid_from="2024-07-01", name="A"), AUTHOR)


@pytest.mark.parametrize(
    "change",
    [
        {"valid_from": "2024-07-01"},
        {"valid_from": "2024-07-01", "name": None},
        {"valid_from": "2024-07-01", "name": "A", "valid_to": "2024-07-01"},
        {"valid_from": "2024-07-01", "kind": "person"},
        {"valid_from": "2024-07-01", "language": "English"},
        {"name": "A"},
    ],
)
def test_a_change_that_says_nothing_or_too_much_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        customer_change(**change)


@settings(max_examples=at_depth(15))
@given(changes=st.lists(CHANGE, max_size=6))
async def test_each_day_says_what_was_said_of_it_last(
    parties: Connection, changes: list[tuple[int, int, str | None, int | None]]
) -> None:
    one = f"c-{uuid4().hex}"
    await enter_customer(parties, read_input(NewCustomer, CUSTOMER | {"customer_id": one}), AUTHOR)
    model: dict[date, tuple[str, int | None]] = dict.fromkeys(DAYS, ("Acme", None))
    for start, length, name, payment_days in changes:
        since, until = DAYS[start], DAYS[start] + timedelta(days=length)
        named = {"name": name, "payment_days": payment_days}
        said = {field: value for field, value in named.items() if value is not None}
        change = {"valid_from": str(since), "valid_to": str(until), "customer_id": one, **said}
        await change_customer(parties, read_input(CustomerChange, change), AUTHOR)
        for day in DAYS:
            if since <= day < until:
                model[day] = (
                    name or model[day][0],
                    model[day][1] if payment_days is None else payment_days,
                )
    rows = await versions(parties, "customer", one)
    for day, expected in model.items():
        noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
        (row,) = [r for r in rows if r["valid_from"] <= noon < (r["valid_to"] or JANUARY_2030)]
        assert (row["name"], row["payment_days"]) == expected
