"""What was entered ends: from a moment on it is recorded no longer, and what was before stays."""

from datetime import datetime
from decimal import Decimal
from typing import Any, get_args

import pytest

from ledger import clock
from ledger.domain.errors import ConflictError, InvalidInputError, LedgerError, NotFoundError
from ledger.flows.books.check_books import check_books
from ledger.flows.pricing.rate import rate
from ledger.flows.reference.end import end_entered
from ledger.flows.reference.enter import enter_asset, enter_deployment, enter_price
from ledger.flows.reference.enter_site_cost import enter_site_cost
from ledger.flows.reference.resources import ENDING, RESOURCES, ListQuery, list_page
from ledger.store.queries import Connection
from ledger.wire.ask_inputs import EndAsk, EndingKind
from ledger.wire.errors import InputError
from ledger.wire.factory_inputs import NewAsset, NewDeployment
from ledger.wire.inputs import read_input
from ledger.wire.price_inputs import NewPrice
from ledger.wire.site_inputs import NewSiteCost
from tests.flows.billing import AUTHOR, DECEMBER, WINDOW, balance_of, settled, subscribed
from tests.support.books import Tokens

SINCE = "2023-01-01T00:00:00Z"
NEW_YEAR = "2024-01-01T00:00:00Z"
RACK = {
    **{"asset_id": "rack", "entity_id": "factory", "facility_id": "site", "name": "Rack"},
    **{"terms": "lease", "gpu_count": 2, "currency": "USD", "gpu_hour_rate": "2"},
    "valid_from": SINCE,
}
CHAT = {
    **{"deployment_id": "chat", "asset_id": "rack", "model": "m", "gpu_uuids": ["GPU-a"]},
    **{"engine_instances": ["vllm-0"], "valid_from": SINCE},
}


async def end(connection: Connection, kind: str, key: str, since: str, **more: Any) -> None:
    asked = read_input(EndAsk, {"kind": kind, "id": key, "valid_from": since, **more})
    assert await end_entered(connection, asked, AUTHOR) == key


async def validities(connection: Connection, kind: str, key: str) -> list[tuple[str, str | None]]:
    rows = await list_page(connection, ENDING[kind], ListQuery(limit=100, key=key), now=clock.now())
    return [(day(row.values["valid_from"]), day(row.values["valid_to"])) for row in rows]


def day(moment: Any) -> Any:
    return moment.date().isoformat() if isinstance(moment, datetime) else moment


async def test_who_leaves_is_charged_up_to_then_and_uses_unpriced_from_then_on(
    worker: Connection,
) -> None:
    books = await subscribed(worker)
    for moment in (WINDOW, DECEMBER):
        await books.usage(moment, Tokens(uncached=1_000_000))
    await settled(worker)
    assert await balance_of(worker, "1150") == 10
    await end(worker, "subscriptions", "sub-acme", "2023-12-01T00:00:00Z")
    await settled(worker)
    assert await balance_of(worker, "1150") == 5
    assert await validities(worker, "subscriptions", "sub-acme") == [("2023-01-01", "2023-12-01")]
    waiting = await worker.fetchval(
        "SELECT sum(quantity) FROM charge WHERE unpriced IS NOT NULL AND day_start >= $1", DECEMBER
    )
    assert waiting == 1_000_000
    found = await check_books(worker)
    assert (found.differing, found.differences) == (0, [])


async def test_it_may_pause_and_end_again_without_a_second_write(worker: Connection) -> None:
    await subscribed(worker)
    await end(worker, "subscriptions", "sub-acme", "2023-11-01T00:00:00Z", valid_to=NEW_YEAR)
    paused = [("2023-01-01", "2023-11-01"), ("2024-01-01", None)]
    assert await validities(worker, "subscriptions", "sub-acme") == paused
    await end(worker, "subscriptions", "sub-acme", NEW_YEAR)
    writes = "SELECT count(*) FROM manual_write"
    before = await worker.fetchval(writes)
    await end(worker, "subscriptions", "sub-acme", NEW_YEAR)
    assert await worker.fetchval(writes) == before
    assert await validities(worker, "subscriptions", "sub-acme") == paused[:1]
    kept = await worker.fetchrow("SELECT * FROM manual_write ORDER BY batch_seq DESC LIMIT 1")
    assert kept is not None
    assert (kept["action"], kept["subject"]) == ("end subscription", "sub-acme")
    assert kept["reason"] == AUTHOR.reason


async def test_one_of_several_prices_of_a_card_ends(worker: Connection) -> None:
    books = await subscribed(worker)
    own = {"rate_card_id": "card-acme", "meter": "input", "amount": "7", "model": "gpt-x"}
    price = read_input(NewPrice, own | {"valid_from": SINCE})
    await enter_price(worker, price, AUTHOR)
    with pytest.raises(ConflictError, match="Say which by meter, model"):
        await end(worker, "prices", "card-acme", NEW_YEAR)
    with pytest.raises(ConflictError, match="Say which by model"):
        await end(worker, "prices", "card-acme", NEW_YEAR, of={"meter": "input"})
    with pytest.raises(NotFoundError, match="no price card-acme of model gpt-y"):
        await end(worker, "prices", "card-acme", NEW_YEAR, of={"model": "gpt-y"})
    with pytest.raises(InvalidInputError, match="not told apart by amount"):
        await end(worker, "prices", "card-acme", NEW_YEAR, of={"amount": "7"})
    await end(worker, "prices", "card-acme", NEW_YEAR, of={"meter": "input", "model": None})
    assert sorted(await validities(worker, "prices", "card-acme"), key=str) == [
        ("2023-01-01", "2024-01-01"),
        ("2023-01-01", None),
        ("2023-01-01", None),
    ]
    await books.usage(datetime.fromisoformat(NEW_YEAR), Tokens(uncached=1_000_000))
    await rate(worker, now=datetime.fromisoformat("2024-01-02T00:00:00Z"))
    assert await worker.fetchval("SELECT sum(amount) FROM charge") in (None, Decimal(0))


async def test_hardware_ends_behind_what_runs_on_it_and_gpus_are_free_again(
    worker: Connection,
) -> None:
    books = await subscribed(worker)
    await books.facility()
    await enter_asset(worker, read_input(NewAsset, RACK), AUTHOR)
    await enter_deployment(worker, read_input(NewDeployment, CHAT), AUTHOR)
    other = read_input(NewDeployment, CHAT | {"deployment_id": "code", "valid_from": NEW_YEAR})
    with pytest.raises(ConflictError, match="End that deployment first"):
        await enter_deployment(worker, other, AUTHOR)
    with pytest.raises(ConflictError, match="but 1 would be deployed"):
        await end(worker, "assets", "rack", NEW_YEAR)
    await end(worker, "deployments", "chat", NEW_YEAR)
    await enter_deployment(worker, other, AUTHOR)
    await end(worker, "deployments", "code", NEW_YEAR)
    await end(worker, "assets", "rack", NEW_YEAR)
    assert await validities(worker, "deployments", "code") == []
    assert await validities(worker, "assets", "rack") == [("2023-01-01", "2024-01-01")]


async def test_a_cost_of_whole_months_ends_with_one(worker: Connection) -> None:
    books = await subscribed(worker)
    await books.facility()
    demand = {"rates": [[{"price": "10"}]]}
    said = {"facility_id": "site", "name": "peak", "currency": "USD", "valid_from": SINCE}
    await enter_site_cost(worker, read_input(NewSiteCost, said | {"demand": demand}), AUTHOR)
    with pytest.raises(LedgerError, match="cost of whole months"):
        await end(worker, "site-costs", "site", "2023-11-02T00:00:00Z")
    await end(worker, "site-costs", "site", "2023-11-01T00:00:00Z")
    assert await validities(worker, "site-costs", "site") == [("2023-01-01", "2023-11-01")]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"id": "sub-nobody"}, "no subscription sub-nobody"),
        ({"kind": "customers"}, "kind: "),
        ({"valid_from": "2024-01-01T00:01:00Z"}, "valid_from: "),
        ({"valid_to": SINCE}, "valid_to: "),
        ({"of": {"meter": "input"}}, "not told apart by meter"),
        ({"id": "\0"}, "id: "),
    ],
)
async def test_what_is_no_end_is_refused_by_name(
    worker: Connection, said: dict[str, Any], message: str
) -> None:
    await subscribed(worker)
    whole = {"kind": "subscriptions", "id": "sub-acme", "valid_from": NEW_YEAR, **said}
    with pytest.raises((LedgerError, InputError), match=message):
        await end_entered(worker, read_input(EndAsk, whole), AUTHOR)
    assert await validities(worker, "subscriptions", "sub-acme") == [("2023-01-01", None)]


def test_whatever_is_dated_has_an_end_or_is_a_series_or_says_so_itself() -> None:
    assert {*get_args(EndingKind)} == set(ENDING)
    without = {each.path for each in RESOURCES if each.dated} - set(ENDING)
    # Prices, factors and rates have an end each; whose child one is ends by a parent that is none.
    # A bill of a utility is replaced, not ended.
    series = {"tariff-prices", "grid-factors", "fx-rates", "utility-bills"}
    assert without == {*series, "parents"}
