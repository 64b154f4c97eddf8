"""What is unusual for its customer waits for a person; what a person released goes out."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.author import Author
from ledger.domain.billing.review import ReviewRule, unusual
from ledger.flows.billing.credit import credit_invoice
from ledger.flows.billing.invoice import preview_invoice
from ledger.flows.billing.run import RunAsk, run_invoices
from ledger.flows.reference.parties import change_entity
from ledger.store.billing.invoice import list_invoices
from ledger.store.queries import Connection
from ledger.wire.changes import EntityChange
from ledger.wire.inputs import read_input
from tests.flows.billing import AUTHOR, DECEMBER, JANUARY, NOW, WINDOW, subscribed
from tests.support.books import Buyer, Tokens

LATER = JANUARY.replace(day=2)
NOVEMBER_RUN = RunAsk("factory", WINDOW, NOW, AUTHOR)
DECEMBER_RUN = RunAsk("factory", DECEMBER, LATER, AUTHOR)


async def two_months(connection: Connection) -> None:
    """acme used 2,000 USD and then 11 times that, beta 1 USD and then 11 times that."""
    books = await subscribed(connection)
    await subscribed(connection, customer_id="beta")
    beta = Buyer(customer_id="beta", customer_ref="beta")
    for at, times in ((WINDOW, 1), (DECEMBER, 11)):
        await books.usage(at, Tokens(uncached=times * 400_000_000))
        await books.usage(at, Tokens(uncached=times * 200_000), buyer=beta)
    assert (await run_invoices(connection, NOVEMBER_RUN)).issued == 2


async def test_what_is_unusual_waits_and_goes_out_once_released(worker: Connection) -> None:
    await two_months(worker)
    done = await run_invoices(worker, DECEMBER_RUN)
    (held,) = done.parked
    assert (done.issued, held.what.subject) == (1, "sub-acme")
    assert "22000.00 USD is over 10 times 2000.00 USD" in held.what.reason
    again = await run_invoices(worker, replace(DECEMBER_RUN, release=frozenset({"beta"})))
    assert (again.issued, len(again.parked)) == (0, 1)
    because = Author("cli:anna", "they doubled their fleet", "req-2")
    released = replace(DECEMBER_RUN, author=because, release=frozenset({"acme"}))
    done = await run_invoices(worker, released)
    assert (done.issued, done.parked) == (1, ())
    kept = await worker.fetchrow(
        "SELECT actor, subject, reason FROM manual_write WHERE action = 'release_invoice'"
    )
    assert tuple(kept or ()) == ("cli:anna", "acme", "they doubled their fleet")


async def test_each_entity_says_what_is_unusual(worker: Connection) -> None:
    await two_months(worker)
    change = {"entity_id": "factory", "review_times": 0}
    said = read_input(EntityChange, change | {"valid_from": "2023-12-01"})
    await change_entity(worker, said, AUTHOR)
    done = await run_invoices(worker, DECEMBER_RUN)
    assert (done.issued, done.parked) == (2, ())


async def test_what_is_void_is_no_history_and_a_preview_says_what_waits(
    worker: Connection,
) -> None:
    await two_months(worker)

    async def said() -> str | None:
        draft = await preview_invoice(
            worker, subscription_id="sub-acme", moment=DECEMBER, now=LATER
        )
        return draft.unusual

    assert "the most of the last 1 invoices" in (await said() or "")
    (first,) = await list_invoices(worker, customer_id="acme")
    await credit_invoice(
        worker, named=first.number, lines=None, now=LATER, author=AUTHOR, void=True
    )
    assert await said() is None


amounts = st.decimals(0, 10**12, places=2)


@given(amounts, st.lists(amounts, max_size=12), st.integers(0, 1_000), amounts)
def test_what_is_unusual_is_above_both_bounds(
    payable: Decimal, history: list[Decimal], times: int, above: Decimal
) -> None:
    found = unusual(payable, history, ReviewRule(times, above), "EUR")
    bounds = [above, *(times * amount for amount in history)]
    assert (found is not None) == (bool(history and times) and all(payable > b for b in bounds))


@pytest.mark.parametrize("history", [(), (Decimal(5),)])
def test_who_has_no_history_is_not_unusual(history: tuple[Decimal, ...]) -> None:
    rule = ReviewRule(2, Decimal(0))
    assert bool(unusual(Decimal(11), history, rule, "EUR")) == bool(history)
