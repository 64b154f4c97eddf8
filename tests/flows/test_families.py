"""A parent pays for its children: by date, line by line, from its credit and within its budgets."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from ledger.domain.errors import ConflictError, InvalidInputError, LedgerError, NotFoundError
from ledger.domain.period import DAY
from ledger.flows.billing.draw import draw
from ledger.flows.billing.invoice import issue_invoice, pending_adjustments
from ledger.flows.billing.reserve import ask_for, reserve
from ledger.flows.books.book_revenue import book_revenue
from ledger.flows.books.check_books import check_books
from ledger.flows.pricing.rate import rate
from ledger.flows.reference.enter import enter_price, enter_subscription
from ledger.flows.reference.enter_budget import enter_budget
from ledger.flows.reference.enter_parent import enter_parent
from ledger.flows.reference.parties import enter_customer
from ledger.store.billing.invoice import list_lines
from ledger.store.queries import Connection
from ledger.wire.budget_inputs import NewBudget, NewReservation
from ledger.wire.errors import InputError
from ledger.wire.inputs import NewSubscription, read_input
from ledger.wire.party_inputs import NewCustomer, NewParent
from ledger.wire.price_inputs import NewPrice
from tests.flows.billing import AUTHOR, DECEMBER, NOVEMBER, grant, subscribed
from tests.support.books import Books, Buyer, Tokens

NOW = DECEMBER + timedelta(hours=3)
SINCE = "2023-01-01T00:00:00Z"
MOVE = "2023-11-16T00:00:00Z"
GRADUATED = {
    "kind": "graduated",
    "meter": "output",
    "tiers": [{"start": 0, "end": 1_000_000, "amount": "10"}, {"start": 1_000_000, "amount": "4"}],
}
MINIMUM = {"meter": "commitment", "kind": "commitment", "every": "month", "amount": "60"}
FEE = {"meter": "fee", "kind": "recurring", "every": "month", "name": "Support", "amount": "300"}


async def family(connection: Connection, *children: str) -> Books:
    """acme on a card with input at 5 per million, and customers beside it."""
    books = await subscribed(connection, meters=("input",), prices=("5",))
    for name in children:
        said = {"customer_id": name, "entity_id": "factory", "name": name.title()}
        await enter_customer(connection, read_input(NewCustomer, said), AUTHOR)
    return books


async def parent(connection: Connection, child: str, of: str | None = "acme", **more: Any) -> None:
    replace = bool(more.pop("replace", False))
    said = {"customer_id": child, "parent_id": of, "valid_from": SINCE} | more
    await enter_parent(connection, read_input(NewParent, said), AUTHOR, replace=replace)


async def price(connection: Connection, **said: Any) -> None:
    new = {"rate_card_id": "card-acme", "valid_from": SINCE} | said
    await enter_price(connection, read_input(NewPrice, new), AUTHOR)


async def settle(connection: Connection) -> None:
    await rate(connection, now=NOW)
    await book_revenue(connection, now=NOW)
    found = await check_books(connection)
    assert (found.differences, found.differing) == ([], 0)


async def issued(connection: Connection, name: str = "sub-acme") -> list[tuple[str, str]]:
    """The lines of November's invoice: what they say, and the exact amount."""
    one = await issue_invoice(
        connection, subscription_id=name, moment=NOVEMBER, now=NOW, author=AUTHOR
    )
    lines = await list_lines(connection, invoice_id=one.invoice_id)
    return [(each.description, f"{each.exact_amount.normalize():f}") for each in lines]


def of(name: str, model: str = "llama") -> Buyer:
    return Buyer(customer_id=name, customer_ref=name, model=model)


async def test_a_parent_is_invoiced_child_by_child_from_the_day_they_are_its(
    worker: Connection,
) -> None:
    books = await family(worker, "lab", "shop", "other")
    own = {"subscription_id": "sub-lab", "customer_id": "lab", "rate_card_id": "card-acme"}
    new = read_input(NewSubscription, own | {"valid_from": SINCE})
    await enter_subscription(worker, new, AUTHOR)
    for day in (2, 20):
        await books.usage(NOVEMBER + day * DAY, Tokens(uncached=1_000_000), buyer=of("lab"))
        await books.usage(NOVEMBER + day * DAY, Tokens(uncached=2_000_000), buyer=of("shop"))
    await books.usage(NOVEMBER, Tokens(uncached=100_000))
    await books.usage(NOVEMBER, Tokens(uncached=9_000_000), buyer=of("other"))
    await rate(worker, now=NOW)
    # Known late: what is rated already moves.
    await parent(worker, "lab", valid_from=MOVE)
    await parent(worker, "shop", "lab", valid_from=MOVE)
    await settle(worker)
    assert await issued(worker) == [
        ("Uncached input tokens, llama, tier standard", "0.5"),
        ("Uncached input tokens, llama, tier standard, used by lab", "5"),
        ("Uncached input tokens, llama, tier standard, used by shop", "10"),
    ]
    assert await issued(worker, "sub-lab") == [("Uncached input tokens, llama, tier standard", "5")]
    waiting = await worker.fetch(
        "SELECT customer_id, sum(quantity) AS n FROM charge WHERE unpriced IS NOT NULL"
        " GROUP BY 1 HAVING sum(quantity) <> 0 ORDER BY 1"
    )
    assert [tuple(row.values()) for row in waiting] == [("other", 9_000_000), ("shop", 2_000_000)]
    await settle(worker)
    # Moved away again, late: the parent's next invoice gives it back.
    await parent(worker, "shop", None, valid_from=MOVE, replace=True)
    await settle(worker)
    changed = await pending_adjustments(worker, subscription_id="sub-acme")
    assert [(each.key.used_by, each.exact_amount) for each in changed] == [("shop", Decimal(-10))]


async def test_tiers_fees_and_minimums_are_of_the_family(worker: Connection) -> None:
    books = await family(worker, "lab", "shop")
    for said in (GRADUATED, MINIMUM, FEE):
        await price(worker, **said)
    await parent(worker, "lab")
    await parent(worker, "shop", valid_from=MOVE)
    await books.usage(NOVEMBER, Tokens(output=500_000), buyer=of("lab"))
    await books.usage(NOVEMBER + 20 * DAY, Tokens(output=1_500_000), buyer=of("shop"))
    await settle(worker)
    # 5; then 5 + 4 with the second tier reached together; what is left of the minimum.
    assert await issued(worker) == [
        ("Minimum commitment, true-up", "46"),
        ("Fee, Support", "300"),
        ("Output tokens, all models, used by lab", "3.5"),
        ("Output tokens, all models, used by shop", "10.5"),
    ]
    await books.usage(NOVEMBER + 10 * DAY, Tokens(output=500_000), buyer=of("lab"))
    await settle(worker)
    changed = await pending_adjustments(worker, subscription_id="sub-acme")
    assert sum(each.exact_amount for each in changed) == 0
    assert {each.key.used_by for each in changed} == {"", "lab", "shop"}


async def test_credit_of_who_pays_is_drawn(worker: Connection) -> None:
    books = await family(worker, "lab")
    await parent(worker, "lab", valid_from=MOVE)
    await grant(worker, "own", "8", customer_id="lab")
    await grant(worker, "group", "8")
    for day in (2, 20):
        await books.usage(NOVEMBER + day * DAY, Tokens(uncached=1_000_000), buyer=of("lab"))
    await rate(worker, now=NOW)
    await draw(worker, now=NOW)
    await settle(worker)
    drawn = await worker.fetch("SELECT grant_id, sum(amount) AS n FROM credit_draw GROUP BY 1")
    assert [tuple(row.values()) for row in drawn] == [("group", 5)]


async def test_what_no_family_can_be_is_refused(worker: Connection) -> None:
    await family(worker, "lab", "shop")
    await subscribed(worker, customer_id="alien", entity_id="elsewhere")
    refused: list[tuple[str, str | None, type[LedgerError], str]] = [
        ("lab", "nobody", NotFoundError, "no customer nobody"),
        ("nobody", "lab", NotFoundError, "no customer nobody"),
        ("lab", "alien", InvalidInputError, "by entity factory, but alien by entity elsewhere"),
    ]
    for child, above, error, said in refused:
        with pytest.raises(error, match=said):
            await parent(worker, child, above)
    with pytest.raises(InputError, match="send another customer"):
        await parent(worker, "lab", "lab")
    await parent(worker, "shop", "lab")
    await parent(worker, "lab")
    with pytest.raises(InvalidInputError, match="acme would be above itself: acme of shop of lab"):
        await parent(worker, "acme", "shop")
    with pytest.raises(ConflictError, match=r"parent lab is already recorded .* parent_id acme"):
        await parent(worker, "lab", "shop")
    await parent(worker, "lab")
    assert await worker.fetchval("SELECT count(*) FROM customer_above") == 4


async def test_budgets_of_who_is_above_cover_who_is_below(worker: Connection) -> None:
    await family(worker, "lab", "shop")
    await price(worker, meter="output", amount="10")
    await parent(worker, "lab")
    said = {"period": "ever", "unit": "money", "amount": "20", "valid_from": SINCE}
    for name, owner in (("group", "acme"), ("team", "lab")):
        new = read_input(NewBudget, said | {"budget_id": name, "customer_id": owner})
        await enter_budget(worker, new, AUTHOR)

    async def ask(customer: str, name: str, tokens: int) -> Any:
        new = {"reservation_id": name, "customer_id": customer, "model": "llama"}
        asked = read_input(NewReservation, new | {"output_tokens_max": tokens})
        (answer,) = await reserve(worker, [ask_for(asked, actor="key")], now=NOW)
        return answer

    held = await ask("lab", "r1", 1_500_000)
    assert [(hold.budget_id, hold.left) for hold in held.holds] == [("group", 5), ("team", 5)]
    refused = await ask("acme", "r2", 600_000)
    assert "budget group, of whose 20, 0 are used and 15 held" in str(refused)
    assert (await ask("shop", "r3", 5)).holds == []
    alerts = await worker.fetch("SELECT customer_id, budget_id FROM budget_alert")
    assert [tuple(row.values()) for row in alerts] == [("acme", "group")]
