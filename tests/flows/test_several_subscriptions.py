"""Several subscriptions of a customer at once: each prices its models, and no two the same."""

from datetime import timedelta
from typing import Any

import pytest

from ledger.domain.errors import ConflictError
from ledger.domain.period import DAY
from ledger.flows.billing.invoice import issue_invoice
from ledger.flows.books.book_revenue import book_revenue
from ledger.flows.books.check_books import check_books
from ledger.flows.pricing.rate import rate
from ledger.flows.reference.enter import enter_rate_card, enter_subscription
from ledger.store.billing.invoice import list_lines
from ledger.store.queries import Connection
from ledger.wire.inputs import NewSubscription, read_input
from ledger.wire.price_inputs import NewRateCard
from tests.flows.billing import AUTHOR, DECEMBER, NOVEMBER, subscribed
from tests.support.books import Buyer, Tokens

NOW = DECEMBER + 20 * DAY
SINCE = {"valid_from": "2023-01-01T00:00:00Z"}
TIERS = [{"start": 0, "end": 1_000_000, "amount": "10"}, {"start": 1_000_000, "amount": "4"}]


async def subscribe(connection: Connection, name: str, *models: str, **more: Any) -> None:
    replace = bool(more.pop("replace", False))
    said = {"subscription_id": name, "customer_id": "acme", "rate_card_id": "card-acme", **SINCE}
    new = read_input(NewSubscription, said | {"models": list(models)} | more)
    await enter_subscription(connection, new, AUTHOR, replace=replace)


async def two_cards(connection: Connection) -> None:
    """acme on one card for llamas and, from the 11th of a month on, on another for all qwens."""
    fee = {"meter": "fee", "kind": "recurring", "every": "month", "name": "Support", **SINCE}
    tiered = {"meter": "output", "kind": "graduated", "tiers": TIERS, **SINCE}
    card = {"rate_card_id": "dear", "entity_id": "factory", "name": "Dear", "currency": "USD"}
    new = read_input(NewRateCard, card | {"prices": [tiered, fee | {"amount": "300"}]})
    await enter_rate_card(connection, new, AUTHOR)
    await subscribe(connection, "sub-acme", "llama", replace=True)
    await subscribe(connection, "sub-qwen", "qwen*", "phi", rate_card_id="dear", anchor_day=11)


async def lines_of(connection: Connection, name: str, at: Any) -> list[tuple[str, str]]:
    one = await issue_invoice(connection, subscription_id=name, moment=at, now=NOW, author=AUTHOR)
    lines = await list_lines(connection, invoice_id=one.invoice_id)
    return [(each.description, f"{each.exact_amount.normalize():f}") for each in lines]


async def test_each_prices_its_models_in_periods_of_its_own(worker: Connection) -> None:
    books = await subscribed(worker)
    await two_cards(worker)
    for day in (2, 12, 25):
        for model in ("llama", "qwen-3", "phi", "other"):
            buyer = Buyer(model=model)
            await books.usage(NOVEMBER + day * DAY, Tokens(output=600_000), buyer=buyer)
    await rate(worker, now=NOW)
    await book_revenue(worker, now=NOW)
    found = await check_books(worker)
    assert (found.differences, found.differing) == ([], 0)
    assert await lines_of(worker, "sub-acme", NOVEMBER) == [
        ("Output tokens, llama, tier standard", "27")
    ]
    assert await lines_of(worker, "sub-qwen", NOVEMBER + 12 * DAY) == [
        ("Output tokens, all models, first 1,000,000", "10"),
        ("Output tokens, all models, above 1,000,000", "5.6"),
        ("Fee, Support", "300"),
    ]
    waiting = await worker.fetch(
        """SELECT k.model, c.unpriced, sum(c.quantity)::int AS n FROM charge c
             JOIN usage_key k USING (usage_key_id) WHERE c.unpriced IS NOT NULL GROUP BY 1, 2"""
    )
    assert [tuple(row.values()) for row in waiting] == [("other", "no subscription", 1_800_000)]


@pytest.mark.parametrize("models", [(), ("*",), ("qwen-3",), ("q*",), ("qwen-*", "mistral")])
async def test_two_of_the_same_model_are_refused_and_both_named(
    worker: Connection, models: tuple[str, ...]
) -> None:
    await subscribed(worker)
    await two_cards(worker)
    both = r"third \(.*\) and sub-\w+ \(.*\) of customer acme overlap: sub-\w+ is already"
    with pytest.raises(ConflictError, match=both):
        await subscribe(worker, "third", *models)
    # The database would not take them either.
    with pytest.raises(Exception, match="conflicting key value violates exclusion constraint"):
        await worker.execute(
            """INSERT INTO subscription (subscription_id, customer_id, rate_card_id, zone, models,
                                         valid, recorded)
               SELECT 'third', s.customer_id, s.rate_card_id, s.zone, $1, s.valid, s.recorded
                 FROM subscription s WHERE s.subscription_id = 'sub-qwen'""",
            list(models),
        )
    await subscribe(worker, "third", "qwem", "r*", "qwe", valid_from="2023-06-01T00:00:00Z")


async def test_a_name_between_two_beginnings_is_nobodys(worker: Connection) -> None:
    await subscribed(worker)
    await subscribe(worker, "sub-acme", "a*", "c", replace=True)
    await subscribe(worker, "sub-b", "b*", "c-*", valid_from="2023-06-01T00:00:00Z")
    asked = "SELECT model, s.subscription_id FROM unnest($1::text[]) m (model)" + (
        " LEFT JOIN subscriptions_of('{acme}', as_it_stands()) s"
        " ON s.models @> m.model AND s.valid @> $2::timestamptz ORDER BY 1"
    )
    models = ["a", "a-\U0010fffd", "b", "c", "c-", "c0", "d", ""]
    rows = await worker.fetch(asked, models, NOW - timedelta(days=1))
    found = {row["model"]: row["subscription_id"] for row in rows}
    assert found == {
        **{"a": "sub-acme", "a-\U0010fffd": "sub-acme", "b": "sub-b", "c": "sub-acme"},
        **{"c-": "sub-b", "c0": None, "d": None, "": None},
    }
