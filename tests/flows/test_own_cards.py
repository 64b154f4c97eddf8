"""A card of a customer's own: like another but for what was agreed, and its own from then on."""

from decimal import Decimal
from typing import Any

import pytest

from ledger.domain.errors import InvalidInputError, LedgerError, NotFoundError
from ledger.domain.period import DAY
from ledger.flows.reference.enter import enter_rate_card, enter_subscription
from ledger.flows.reference.parties import enter_customer, enter_entity
from ledger.store.queries import Connection
from ledger.wire.inputs import NewSubscription, read_input
from ledger.wire.party_inputs import NewCustomer, NewEntity
from ledger.wire.price_inputs import NewRateCard
from tests.flows.billing import AUTHOR, NOVEMBER
from tests.flows.test_period_prices import SINCE, agree, enter, priced, settle
from tests.support.books import Buyer, Tokens

MID = (NOVEMBER + 15 * DAY).isoformat()
AGREED: dict[str, Any] = {"meter": "output", "amount": "8", "valid_from": MID}


async def own_card(connection: Connection, *prices: dict[str, Any], **more: Any) -> str:
    said = {"rate_card_id": "own", "entity_id": "factory", "name": "Own", "currency": "USD"}
    told = said | {"like": "card-acme", "prices": list(prices)} | more
    return await enter_rate_card(connection, read_input(NewRateCard, told), AUTHOR)


async def test_a_customer_pays_what_was_agreed_and_all_else_by_the_list(worker: Connection) -> None:
    books = await priced(
        worker,
        {"meter": "output", "amount": "10"},
        {"meter": "output", "amount": "9", "model": "qwen"},
        {"meter": "output", "amount": "4", "hours": "00:00-06:00 UTC"},
    )
    await own_card(worker, AGREED)
    beta = {"customer_id": "beta", "entity_id": "factory", "name": "Beta"}
    await enter_customer(worker, read_input(NewCustomer, beta), AUTHOR)
    on_own = {"subscription_id": "sub-beta", "customer_id": "beta", "rate_card_id": "own"}
    await enter_subscription(
        worker, read_input(NewSubscription, on_own | {"valid_from": SINCE}), AUTHOR
    )
    # What the list costs later is not the customer's.
    await enter(worker, meter="output", amount="20", valid_from=SINCE, replace=True)
    for day in (0, 20):
        for model in ("llama", "qwen"):
            buyer = Buyer(customer_id="beta", customer_ref="beta", model=model)
            noon = NOVEMBER + (day + 0.5) * DAY
            await books.usage(noon, Tokens(uncached=1_000_000, output=1_000_000), buyer=buyer)
    await settle(worker)
    rows = await worker.fetch(
        """SELECT c.day_start, k.model, c.amount FROM charge c JOIN usage_key k USING (usage_key_id)
            WHERE c.customer_id = 'beta' AND c.meter = 'output_visible'"""
    )
    charged = {((row["day_start"] - NOVEMBER).days, row["model"]): row["amount"] for row in rows}
    wanted = {(0, "llama"): 10, (0, "qwen"): 9, (20, "llama"): 8, (20, "qwen"): 9}
    assert charged == {key: Decimal(amount) for key, amount in wanted.items()}
    await agree(worker)


async def test_the_same_again_writes_nothing(worker: Connection) -> None:
    await priced(worker, {"meter": "output", "amount": "10"})
    for _ in range(2):
        await own_card(worker, AGREED)
    rows = await worker.fetch("SELECT meter FROM rate_card_price WHERE rate_card_id = 'own'")
    assert sorted(row["meter"] for row in rows) == ["input_uncached"] + 2 * ["output_visible"]


@pytest.mark.parametrize(
    ("prices", "more", "error", "says"),
    [
        ((), {"like": "nowhere"}, NotFoundError, "has no rate card nowhere"),
        ((), {"like": "theirs"}, NotFoundError, "Entity factory has no rate card theirs"),
        ((), {"currency": "EUR"}, InvalidInputError, "is in USD, and this one in EUR"),
        ((AGREED, AGREED | {"amount": "7"}), {}, LedgerError, "already recorded"),
        ((AGREED | {"amount": "8000000"},), {}, InvalidInputError, "over 1,000 times"),
        ((AGREED | {"hours": "05:00-07:00 UTC"},), {}, LedgerError, "both apply"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_card_that_cannot_be_like_another_is_refused(
    worker: Connection,
    prices: tuple[dict[str, Any], ...],
    more: dict[str, Any],
    error: type[LedgerError],
    says: str,
) -> None:
    night = {"meter": "output", "amount": "4", "hours": "00:00-06:00 UTC"}
    await priced(worker, {"meter": "output", "amount": "10"}, night)
    other = {"entity_id": "other", "name": "Other", "currency": "USD", "zone": "UTC"}
    await enter_entity(worker, read_input(NewEntity, other), AUTHOR)
    theirs = {"rate_card_id": "theirs", "entity_id": "other", "name": "X", "currency": "USD"}
    await enter_rate_card(worker, read_input(NewRateCard, theirs), AUTHOR)
    with pytest.raises(error, match=says):
        await own_card(worker, *prices, **more)
    assert await worker.fetchval("SELECT count(*) FROM rate_card WHERE rate_card_id = 'own'") == 0
