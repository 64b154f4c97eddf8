"""By hand nothing is dated in a closed month, and what reaches into one is entered for a reason."""

from collections.abc import Awaitable
from typing import Any

import pytest

from ledger.domain.author import Author
from ledger.domain.errors import ConflictError, InvalidInputError
from ledger.flows.billing.invoice import issue_invoice
from ledger.flows.billing.run import RunAsk, run_invoices
from ledger.flows.reference.enter import (
    enter_asset,
    enter_fx_rates,
    enter_price,
    enter_tariff,
    enter_tariff_prices,
)
from ledger.flows.reference.enter_payment import enter_payment
from ledger.store.queries import Connection
from ledger.wire.factory_inputs import NewAsset
from ledger.wire.inputs import NewFxRates, read_input
from ledger.wire.price_inputs import NewPrice
from ledger.wire.receivable_inputs import NewPayment
from ledger.wire.tariff_inputs import NewTariff, NewTariffPrices
from tests.flows.billing import AUTHOR, WINDOW, grant, pay, subscribed
from tests.flows.test_close import LATER, closed, with_november

NOBODY_SAYS = Author("cli:test", "import of a file", "req-3", stated=False)
NOVEMBER, DECEMBER = "2023-11-30T00:00:00Z", "2023-12-01T00:00:00Z"


async def test_a_payment_or_credit_dated_in_a_closed_month_is_refused_by_name(
    worker: Connection,
) -> None:
    await with_november(worker)
    await pay(worker, "b0", "1.00", paid_on="2023-11-20")
    await closed(worker, "2023-11")
    with pytest.raises(
        ConflictError, match="closed for days before 2023-12-01, and this is of 2023-11-30"
    ):
        await pay(worker, "b1", "1.00", paid_on="2023-11-30")
    with pytest.raises(
        ConflictError, match="closed for days before 2023-12-01, and this is of 2023-11-30"
    ):
        await grant(worker, "g1", "1.00", granted_on="2023-11-30")
    assert await pay(worker, "b0", "1.00", paid_on="2023-11-20") == "b0"
    assert await pay(worker, "b1", "1.00", paid_on="2023-12-01") == "b1"


async def test_what_is_booked_in_a_soft_closed_month_has_a_reason(worker: Connection) -> None:
    await with_november(worker)
    await closed(worker, "2023-11", soft=True)

    def paid(payment_id: str, day: str) -> NewPayment:
        said = {"entity_id": "factory", "payment_id": payment_id, "customer_id": "acme"}
        told = {"paid_on": day, "currency": "USD", "amount": "1.00"}
        return read_input(NewPayment, said | told)

    for _ in range(2):
        with pytest.raises(InvalidInputError, match="2023-11 of factory is being closed"):
            await enter_payment(worker, paid("b1", "2023-11-30"), NOBODY_SAYS)
    assert await enter_payment(worker, paid("b1", "2023-11-30"), AUTHOR) == "b1"
    assert await enter_payment(worker, paid("b2", "2023-12-01"), NOBODY_SAYS) == "b2"


async def test_an_invoice_of_a_closed_period_needs_a_reason(worker: Connection) -> None:
    await with_november(worker)
    await closed(worker, "2023-11")

    async def issue(author: Author) -> str:
        asked: dict[str, Any] = {"subscription_id": "sub-acme", "moment": WINDOW, "now": LATER}
        return (await issue_invoice(worker, **asked, author=author)).number

    with pytest.raises(ConflictError, match="and the period of sub-acme ended 2023-12-01"):
        await issue(NOBODY_SAYS)
    assert await worker.fetchval("SELECT count(*) FROM invoice_series") == 0
    ran = await run_invoices(worker, RunAsk("factory", WINDOW, LATER, NOBODY_SAYS))
    assert (ran.issued, [each.what.subject for each in ran.parked]) == (0, ["sub-acme"])
    assert "closed until" in ran.parked[0].what.reason
    assert await issue(AUTHOR) == "FACTORY-2024-000001"


def price(since: str) -> dict[str, Any]:
    return {
        "rate_card_id": "card-acme",
        "meter": "cached_input",
        "amount": "1",
        "valid_from": since,
    }


def asset(since: str) -> dict[str, Any]:
    told = {"asset_id": f"rack-{since}", "entity_id": "factory", "facility_id": "site"}
    said = {"name": "R", "terms": "lease", "gpu_count": 1, "currency": "USD", "gpu_hour_rate": "2"}
    return told | said | {"valid_from": since}


def prices(since: str) -> dict[str, Any]:
    row = {"start": since, "resolution_minutes": 60, "price_per_mwh": "80"}
    return {"tariff_id": "spot", "prices": [row]}


def rates(since: str) -> dict[str, Any]:
    row = {"base": "EUR", "quote": "USD", "day": since[:10], "rate": "1.1", "source": "ECB"}
    return {"rates": [row]}


SLOW: dict[str, tuple[Any, Any, Any]] = {
    "a price": (enter_price, NewPrice, price),
    "an asset": (enter_asset, NewAsset, asset),
    "prices of a tariff": (enter_tariff_prices, NewTariffPrices, prices),
    "exchange rates": (enter_fx_rates, NewFxRates, rates),
}


@pytest.mark.parametrize("what", SLOW)
async def test_what_reaches_into_a_closed_month_needs_a_reason(
    worker: Connection, what: str
) -> None:
    books = await with_november(worker)
    await books.facility()
    tariff = {"tariff_id": "spot", "facility_id": "site", "name": "S", "currency": "USD"}
    await enter_tariff(worker, read_input(NewTariff, tariff), AUTHOR)
    enter, model, said = SLOW[what]

    def entering(since: str, author: Author) -> Awaitable[object]:
        done: Awaitable[object] = enter(worker, read_input(model, said(since)), author)
        return done

    await closed(worker, "2023-11")
    with pytest.raises(InvalidInputError, match="factory has closed, until 2023-12-01"):
        await entering(NOVEMBER, NOBODY_SAYS)
    await entering(DECEMBER, NOBODY_SAYS)
    if what != "a price":
        await entering(NOVEMBER, AUTHOR)


async def test_what_is_of_another_entity_needs_none(worker: Connection) -> None:
    await with_november(worker)
    await subscribed(worker, customer_id="other", entity_id="other")
    await closed(worker, "2023-11")
    told = price(NOVEMBER) | {"rate_card_id": "card-other"}
    await enter_price(worker, read_input(NewPrice, told), NOBODY_SAYS)
