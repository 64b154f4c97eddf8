"""The same thing has the same fields in one shape, over HTTP, on the terminal and in files."""

import asyncio
from typing import Any

import pytest

from ledger.flows.reference.resource import Resource
from ledger.flows.reference.resources import RESOURCES
from ledger.store.queries import Connection
from ledger.wire.price_inputs import PRICE_FIELDS
from tests.api.full_books import ISSUE, PERIOD, fill
from tests.api.held import DOCUMENT
from tests.api.served import Served
from tests.cli.command_line import CommandLine
from tests.support.database import Database

LISTS: dict[str, tuple[str, ...]] = {
    **{f"/v1/{each.path}": ("list", each.path) for each in RESOURCES if each.parent is None},
    "/v1/tariffs/power/prices": ("list", "tariff-prices"),
    "/v1/invoices": ("invoice", "list"),
    "/v1/suspense": ("suspense", "list"),
    "/v1/unpriced": ("unpriced", "list"),
    "/v1/quarantine": ("quarantine", "list"),
    "/v1/conflicts": ("conflicts", "list"),
    "/v1/subscriptions/sub-acme/adjustments": ("invoice", "adjustments", "sub-acme"),
}
OF_PERIOD = ("--entity", "factory", "--from", PERIOD["since"], "--to", PERIOD["until"])
ONES: dict[str, tuple[str, ...]] = {
    "/v1/customers/acme": ("show", "customer", "acme"),
    "/v1/aliases/crm%2F7%20%C3%BC": ("show", "alias", "crm/7 ü"),
    "/v1/conflicts/1": ("conflicts", "show", "1"),
    "/v1/margins": ("report", "margin", *OF_PERIOD, "--by", "tier"),
    "/v1/sites": ("report", "sites", *OF_PERIOD),
    "/v1/bills": ("report", "bills", *OF_PERIOD),
    "/v1/efficiency": ("report", "efficiency", *OF_PERIOD),
    "/v1/producers": ("report", "producers", *OF_PERIOD),
    "/v1/calibrations": ("report", "calibration", *OF_PERIOD),
    "/v1/agents": ("report", "agents", *OF_PERIOD),
    "/v1/energy": ("report", "energy", *OF_PERIOD),
    "/v1/coverage": ("report", "coverage", *OF_PERIOD),
    "/v1/balances": ("report", "balances", *OF_PERIOD),
    "/v1/engines": ("report", "engines", *OF_PERIOD),
    "/v1/usage": ("report", "usage", *OF_PERIOD),
    "/v1/extras": ("report", "extras", *OF_PERIOD),
}
# What a row says of itself in other words than the body that entered it.
TOLD_OTHERWISE = {
    # Terms told as prices of its own, and what card it began like.
    "rate-cards": {"prices", "like"},
    "site-costs": {"standing", "demand", "tiers", "percent", "bill"},
    "deployments": {"weights"},
    # The terms of its kind, told as params.
    "prices": set[str]().union(*PRICE_FIELDS.values()),
    "tariff-prices": {"prices", "time_of_use"},
    "fx-rates": {"rates"},
    "grid-factors": {"factors"},
}


async def test_lists_and_reports_are_printed_as_they_are_answered(
    served: Served, worker: Connection, database: Database
) -> None:
    await fill(served, worker)
    command = CommandLine(database)
    for path, arguments in LISTS.items():
        answered = served.get(path).json()
        printed = await asyncio.to_thread(command.json, *arguments)
        assert printed == answered, path
        assert printed.keys() == {"items", "next"}
        assert printed["items"], path
    for path, arguments in ONES.items():
        of_period = "report" in arguments
        asked = {**PERIOD, "entity": "factory"} if of_period else {}
        answered = served.get(path, params=asked).json()
        printed = await asyncio.to_thread(command.json, *arguments)
        # Each is of a cut-off of its own.
        assert [each.pop("cut_off_id", None) for each in (answered, printed)]
        assert printed == answered, path
    answered = served.post("/v1/invoices/preview", ISSUE).json()
    preview = ("invoice", "preview", ISSUE["subscription_id"], "--at", ISSUE["at"])
    printed = await asyncio.to_thread(command.json, *preview)
    assert {**printed, "cut_off_id": 0} == {**answered, "cut_off_id": 0}
    state, shown = served.get("/v1/status").json(), await asyncio.to_thread(command.json, "status")
    assert shown.keys() == state.keys()
    for name in ("fates", "suspense", "unpriced", "parked", "usage", "quarantined"):
        assert shown[name] == state[name], name


async def test_a_list_that_goes_on_says_where(
    served: Served, worker: Connection, database: Database
) -> None:
    served.send(*(b"{nothing" for _ in range(3)))
    command = CommandLine(database)
    rows: list[Any] = []
    before: tuple[Any, ...] = ()
    while True:
        page = await asyncio.to_thread(command.json, "quarantine", "list", "--rows", 2, *before)
        rows += page["items"]
        if page["next"] is None:
            break
        before = ("--before", page["next"])
    assert rows == served.get("/v1/quarantine").json()["items"]
    assert len(rows) == 3


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda each: each.path)
def test_what_is_entered_is_what_is_shown_and_what_files_hold(resource: Resource) -> None:
    if resource.model is None:
        return
    fields = set(resource.model.model_fields)
    told = TOLD_OTHERWISE.get(resource.path, set())
    assert fields - set(resource.row.model_fields) == told
    schemas = DOCUMENT["components"]["schemas"]
    body = schemas[resource.model.__name__]
    # What is told apart by its kind has the fields of all kinds together.
    kinds = [schemas[each["$ref"].rpartition("/")[2]] for each in body.get("oneOf", ())]
    assert {name for each in kinds or [body] for name in each["properties"]} == fields
    if resource.file_rows is not None:
        assert resource.file_rows.model is resource.model
