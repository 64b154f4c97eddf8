"""What was entered is listed page by page, shown with its history, changed from a day on."""

from typing import Any

import pytest

from ledger.flows.reference.resource import Resource
from ledger.flows.reference.resources import RESOURCES
from ledger.store.queries import Connection
from tests.api.full_books import fill
from tests.api.served import Served
from tests.flows.slow_facts import day
from tests.support.books import Books

SINGLE = [each for each in RESOURCES if each.parent is None]
ONE = {"entities": "factory", "customers": "acme", "rate-cards": "card-acme"}
BODIES: dict[str, Any] = {
    "aliases": {"alias": "crm-7", "customer_id": "acme", "valid_from": day(0)},
    "parents": {"customer_id": "beta", "parent_id": "acme", "valid_from": day(0)},
    "facilities": {"facility_id": "site", "entity_id": "factory", "name": "Site", "zone": "UTC"},
    "pues": {"facility_id": "site", "pue": "1.2", "valid_from": day(0)},
    "energy-meters": {"meter": "GPU-a", "facility_id": "site", "valid_from": day(0)},
    "assets": {
        **{"asset_id": "rack", "entity_id": "factory", "facility_id": "site", "name": "Rack"},
        **{"terms": "lease", "gpu_count": 8, "currency": "USD", "gpu_hour_rate": "2"},
        "valid_from": day(0),
    },
    "site-costs": {
        **{"facility_id": "site", "name": "rent", "currency": "USD", "valid_from": day(0)},
        "standing": {"amount": "1", "per": "month"},
    },
    "utility-bills": {
        **{"bill_id": "esb-1", "facility_id": "site", "currency": "USD", "kwh": "10"},
        **{"first_day": "2024-01-01", "last_day": "2024-01-31", "amount": "5", "tax": "1"},
    },
    "grid-factors": {
        **{"facility_id": "site", "kind": "water", "source": "operator"},
        "factors": [
            {"start": day(n), "resolution_minutes": 60, "per_kwh": "1080"} for n in range(3)
        ],
    },
    "deployments": {
        **{"deployment_id": "chat", "asset_id": "rack", "model": "llama", "gpu_count": 4},
        "valid_from": day(0),
    },
    "idle-policies": {"entity_id": "factory", "method": "operator", "valid_from": day(0)},
    "weight-sets": {
        **{"deployment_id": "chat", "weight_set_id": "measured", "version": 2},
        **{"uncached": 60_000, "cache_read": 400, "cache_write": 60_000, "output": 359_600},
        "valid_from": day(0),
    },
    "tariffs": {"tariff_id": "spot", "facility_id": "site", "name": "Spot", "currency": "USD"},
    "tax-rates": {"country": "DK", "percent": "25", "valid_from": day(0)},
    "tax-registrations": {
        **{"entity_id": "factory", "country": "DK", "tax_number": "DK13585628"},
        "valid_from": day(0),
    },
    "tax-treatments": {
        **{"customer_id": "acme", "country": "DK", "treatment": "standard"},
        "valid_from": day(0),
    },
    "webhooks": {
        **{"webhook_id": "erp", "entity_id": "factory", "events": ["payment.received"]},
        "url": "https://hooks.example.com/tokenledger",
    },
    "dunning-policies": {"entity_id": "factory", "reminder_days": [7, 14], "valid_from": day(0)},
    "payments": {
        **{"entity_id": "factory", "payment_id": "bank-1", "customer_id": "acme"},
        **{"paid_on": "2024-01-02", "currency": "USD", "amount": "5"},
    },
    "grants": {
        **{"entity_id": "factory", "grant_id": "credit-1", "customer_id": "acme"},
        **{"granted_on": "2024-01-02", "currency": "USD", "amount": "5"},
    },
    "top-up-rules": {
        **{"customer_id": "acme", "currency": "USD", "low_balance": "9"},
        **{"valid_from": day(0)},
    },
    "budgets": {
        **{"budget_id": "tight", "customer_id": "acme", "period": "month", "unit": "tokens"},
        **{"amount": "1000", "valid_from": day(0)},
    },
    "fx-rates": {
        "rates": [
            {"base": "EUR", "quote": "USD", "day": f"2024-01-0{n}", "rate": "1.1", "source": "ECB"}
            for n in (1, 2, 3)
        ]
    },
}
# What follows from what was entered and used.
MADE = {
    *("credit-notes", "budget-balances", "budget-alerts", "reservations"),
    *("deliveries", "bank-entries", "dunning-letters", "credit-events", "agent-runs"),
    "closes",
    "disputes",
}
PRICES = {"prices": [{"start": day(0), "resolution_minutes": 60, "price_per_mwh": "80"}]}


def enter_all(served: Served) -> None:
    for path, body in BODIES.items():
        assert served.post(f"/v1/{path}", body).status_code == 201, path
    assert served.post("/v1/tariffs/spot/prices", PRICES).status_code == 201


def walk(served: Served, path: str, limit: int) -> list[dict[str, Any]]:
    """Every row of a list, page by page."""
    rows: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        given = {"limit": limit, **({"cursor": cursor} if cursor else {})}
        page = served.get(path, params=given).json()
        assert page.keys() == {"items", "next"}
        rows += page["items"]
        cursor = page["next"]
        if cursor is None:
            return rows


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda each: each.path)
async def test_a_list_of_each_kind_is_walked_once_and_each_of_it_is_shown(
    served: Served, worker: Connection, resource: Resource
) -> None:
    if resource.path in MADE:
        await fill(served, worker)
    else:
        enter_all(served)
    if resource.parent is not None:
        one = "spot" if resource.parent == "tariffs" else "card-acme"
        path = f"/v1/{resource.parent}/{one}/prices"
        rows = walk(served, path, 1)
        assert rows == walk(served, path, 1_000)
        assert rows
        return
    rows = walk(served, f"/v1/{resource.path}", 1)
    assert rows == walk(served, f"/v1/{resource.path}", 1_000)
    assert rows
    shown = served.get(f"/v1/{resource.path}/{rows[0][resource.key]}").json()
    assert rows[0] in shown["versions"]
    assert {row[resource.key] for row in shown["versions"]} == {rows[0][resource.key]}
    assert set(resource.columns) <= set(rows[0])
    absent = served.get(f"/v1/{resource.path}/nobody")
    assert (absent.status_code, absent.json()["title"]) == (404, "Not found")


async def test_a_customer_changes_from_a_day_on_by_patch(served: Served) -> None:
    change = {"valid_from": "2024-02-01", "address": "Street 1", "payment_days": 10}
    first = served.call("PATCH", "/v1/customers/acme", role="finance", json=change)
    assert (first.status_code, first.json()) == (200, {"id": "acme"})
    found = served.get("/v1/customers/acme").json()
    assert [row["address"] for row in found["versions"]] == ["", "Street 1"]
    assert (found["now"]["address"], found["now"]["payment_days"]) == ("Street 1", 10)
    (acme, _) = served.get("/v1/customers").json()["items"]
    assert acme["address"] == "Street 1"
    then = served.get("/v1/customers", params={"at": "2024-01-31T00:00:00Z"}).json()["items"]
    assert then[0]["address"] == ""


async def test_what_a_change_may_not_say_is_named(served: Served) -> None:
    for change, pointer in (
        ({"valid_from": "2024-02-01", "kind": "person"}, "kind"),
        ({"address": "Street 1"}, "valid_from"),
        ({"valid_from": "2024-02-01", "customer_id": "beta", "name": "X"}, "customer_id"),
    ):
        refused = served.call("PATCH", "/v1/customers/acme", json=change)
        assert refused.status_code == 422, change
        said = refused.json()
        assert pointer in {said.get("pointer"), *(e["pointer"] for e in said.get("errors", []))}
    assert served.call("PATCH", "/v1/customers/nobody", json={}).status_code == 422
    absent = {"valid_from": "2024-02-01", "name": "X"}
    assert served.call("PATCH", "/v1/customers/nobody", json=absent).status_code == 404


async def test_what_was_entered_ends_and_says_why_not(served: Served) -> None:
    whole = {"kind": "subscriptions", "id": "sub-acme", "valid_from": "2024-02-01T00:00:00Z"}
    for change, status, pointer in (
        ({"kind": "customers"}, 422, "kind"),
        ({"valid_from": "2024-02-01"}, 422, "valid_from"),
        ({"id": "nobody"}, 404, None),
        ({"of": {"meter": "input"}}, 422, "of.meter"),
        ({"kind": "prices", "id": "card-acme", "of": {"band_from": "x"}}, 422, "of.band_from"),
        ({"kind": "prices", "id": "card-acme"}, 409, "of"),
    ):
        refused = served.call("POST", "/v1/ends", json={**whole, **change})
        assert refused.status_code == status, (change, refused.text)
        said = refused.json()
        assert pointer in {said.get("pointer"), *(e["pointer"] for e in said.get("errors", []))}
    done = served.call("POST", "/v1/ends", role="finance", json=whole)
    assert (done.status_code, done.json()) == (201, {"id": "sub-acme"})
    (only,) = served.get("/v1/subscriptions/sub-acme").json()["versions"]
    assert only["valid_to"] == "2024-02-01T00:00:00.000000Z"


async def test_lists_are_of_an_entity(served: Served, worker: Connection) -> None:
    await Books(worker).entity("other")
    for resource in SINGLE:
        answer = served.get(f"/v1/{resource.path}", params={"entity": "other"})
        if resource.path in {"fx-rates", "tax-rates"}:
            assert answer.status_code == 422
            continue
        rows = answer.json()["items"]
        assert [row["entity_id"] for row in rows] == (
            ["other"] if resource.path == "entities" else []
        )


async def test_a_customer_lists_what_is_its_own(served: Served) -> None:
    for path, key, own in (
        ("customers", "customer_id", ["acme"]),
        ("subscriptions", "customer_id", ["acme"]),
        ("rate-cards", "rate_card_id", ["card-acme"]),
        ("entities", "entity_id", ["factory"]),
    ):
        rows = served.get(f"/v1/{path}", role="customer").json()["items"]
        assert [row[key] for row in rows] == own, path
    assert served.get("/v1/customers/beta", role="customer").status_code == 404
    assert served.get("/v1/customers/acme", role="customer").status_code == 200
    assert served.get("/v1/rate-cards/card-beta/prices", role="customer").json()["items"] == []


@pytest.mark.parametrize(
    "cursor",
    ["nonsense", "", "é", "bnVsbA", "W10", "WzFd", "WyJcdTAwMDAiXQ", "WyJcdWQ4MDAiXQ", "[" * 5_000],
)
async def test_an_odd_cursor_is_refused(served: Served, cursor: str) -> None:
    for path in ("/v1/customers", "/v1/fx-rates", "/v1/keys", "/v1/quarantine", "/v1/invoices"):
        answer = served.get(path, params={"cursor": cursor})
        assert answer.status_code == 422 or (path, cursor) in {
            ("/v1/quarantine", "WzFd"),
            ("/v1/invoices", "WzFd"),
        }, path
