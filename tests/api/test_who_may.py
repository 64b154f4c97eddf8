"""Every route has its roles, and no customer sees cost or another customer."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from litestar.routes import HTTPRoute

from ledger.api.app import create_app
from ledger.api.failures import Failures
from ledger.domain.author import Author
from ledger.flows.reference.keys import create_api_key, revoke_api_key
from ledger.settings import Settings
from ledger.store.queries import Connection
from ledger.wire.inputs import NewApiKey, read_input
from tests.api.served import ROLES, Served, attempt
from tests.flows.billing import WINDOW, settled
from tests.support.asking import ask_as
from tests.support.books import Buyer, Tokens
from tests.support.database import Database


def routes() -> Iterator[tuple[str, str, frozenset[str]]]:
    """(method, path, roles) of everything the app answers to, its own schema left out."""
    app = create_app(Settings())
    for route in app.routes:
        if isinstance(route, HTTPRoute) and not route.path.startswith("/schema"):
            for handler in route.route_handlers:
                for method in sorted(handler.http_methods - {"OPTIONS"}):
                    yield method, route.path, handler.opt["roles"]


def test_every_route_names_its_roles_itself() -> None:
    for route in create_app(Settings()).routes:
        if isinstance(route, HTTPRoute) and not route.path.startswith("/schema"):
            for handler in route.route_handlers:
                if handler.http_methods != {"OPTIONS"}:
                    assert "roles" in handler.opt, f"{route.path} has no roles"


async def test_each_route_admits_its_roles_and_nobody_else(served: Served) -> None:
    for method, template, roles in routes():
        path = re.sub(r"\{\w+:int\}", "1", re.sub(r"\{\w+:str\}", "x", template))
        if "public" in roles:
            assert served.call(method, path, role=None).status_code not in {401, 403}
            continue
        assert served.call(method, path, role=None).status_code == 401, path
        for role in ROLES:
            status = served.call(method, path, role=role).status_code
            assert (status == 403) == (role not in roles), f"{role} {method} {path}: {status}"
            assert status < 500, f"{role} {method} {path}: {status}"


@pytest.mark.parametrize("key", ["", "tlk_nothing", "tlk_000000000000_wrong", "Bearer"])
async def test_a_wrong_key_is_nobody(served: Served, key: str) -> None:
    answer = served.client.get("/v1/entities", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_revoked_key_is_nobody(served: Served) -> None:
    key_id = served.keys["finance"].split("_")[1]
    assert served.get("/v1/entities", role="finance").status_code == 200
    assert served.post(f"/v1/keys/{key_id}/revocation", {}).status_code == 200
    assert served.get("/v1/entities", role="finance").status_code == 401


def asking_routes() -> Iterator[tuple[str, str]]:
    """(path, role) of every route whose caller may be one that was found before."""
    for route in create_app(Settings()).routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                if handler.opt.get("asks"):
                    assert handler.http_methods - {"OPTIONS", "HEAD"} == {"GET"}
                    yield route.path, min(handler.opt["roles"] - {"customer"})


async def test_a_key_that_is_revoked_elsewhere_is_nobody_to_whoever_knew_it(
    served: Served, worker: Connection
) -> None:
    asked = list(asking_routes())
    assert ("/v1/customers", "admin") in asked
    author = Author("cli:test", "for a test", "req-1")
    for template, role in asked:
        served.client.app.state.ledger.failures = Failures()
        path = re.sub(r"\{\w+:int\}", "1", re.sub(r"\{\w+:str\}", "x", template))
        made = await create_api_key(worker, read_input(NewApiKey, {"role": role}), author)
        headers = {"Authorization": f"Bearer {made.text}"}
        for _ in range(2):
            assert served.client.get(path, headers=headers).status_code in {200, 404}, path
        # A text that differs only in its secret opens nothing, though its key is known.
        wrong = {"Authorization": f"Bearer {made.text[:-1]}"}
        assert served.client.get(path, headers=wrong).status_code == 401, path
        await revoke_api_key(worker, made.key_id, author)
        for _ in range(2):
            assert served.client.get(path, headers=headers).status_code == 401, path


async def test_a_customer_sees_its_own_and_nobody_elses(served: Served) -> None:
    assert served.send(attempt("a"), attempt("b", customer_id="beta")).status_code == 200
    period = {"since": "2023-11-01T00:00:00Z", "until": "2023-12-01T00:00:00Z", "by": "customer"}
    for role, own in (("customer", "acme"), ("beta", "beta")):
        seen = served.get("/v1/usage", role=role, params=period).json()["items"]
        assert [row["customer"] for row in seen] == [own]
        assert [
            c["customer_id"] for c in served.get("/v1/customers", role=role).json()["items"]
        ] == [own]
    other = served.get("/v1/usage", role="customer", params={**period, "customer": "beta"})
    assert other.status_code == 404
    both = served.get("/v1/usage", params=period).json()["items"]
    assert len(both) == 2


async def test_a_customer_opens_its_own_invoice_only(served: Served) -> None:
    served.send(attempt("a"), attempt("b", customer_id="beta"))
    for name in ("acme", "beta"):
        body = {"subscription_id": f"sub-{name}", "at": "2023-11-16T00:00:00Z"}
        assert served.post("/v1/invoices", body, role="finance").status_code == 201
    own = served.get("/v1/invoices", role="customer").json()["items"]
    assert [row["customer_id"] for row in own] == ["acme"]
    mine = own[0]["invoice_id"]
    every = {row["invoice_id"]: row["number"] for row in served.get("/v1/invoices").json()["items"]}
    (other,) = every.keys() - {mine}
    found = served.get(f"/v1/invoices/{mine}", role="customer").json()
    assert found["lines"]
    assert served.get(f"/v1/invoices/{every[mine]}", role="customer").json() == found
    assert served.get(f"/v1/invoices/{mine}/pdf", role="customer").content.startswith(b"%PDF")
    events = served.get(f"/v1/invoices/{mine}/lines/1/events", role="customer").json()["items"]
    assert [event["event_id"] for event in events] == ["a"]
    for path in (
        f"/v1/invoices/{name}{at}" for name in (other, every[other]) for at in ("", "/pdf")
    ):
        assert served.get(path, role="customer").status_code == 404


async def test_a_parent_sees_its_children_and_a_child_its_own(served: Served) -> None:
    since = {"valid_from": "2023-01-01T00:00:00Z"}
    for name in ("lab", "lab-2"):
        said = {"customer_id": name, "entity_id": "factory", "name": name}
        assert served.post("/v1/customers", said).status_code == 201
        child = {"customer_id": name, "parent_id": "acme", **since}
        assert served.post("/v1/parents", child).status_code == 201
        new = {"role": "customer", "customer_id": name, "name": name}
        served.keys[name] = served.post("/v1/keys", new).json()["key"]
    served.send(attempt("a"), attempt("b", customer_id="beta"))
    served.send(attempt("c", customer_id="lab"), attempt("d", customer_id="lab-2"))
    period = {"since": "2023-11-01T00:00:00Z", "until": "2023-12-01T00:00:00Z", "by": "customer"}
    hour = {"since": "2023-11-16T18:00:00Z", "until": "2023-11-16T19:00:00Z"}

    def seen(role: str, customer: str | None = None, **more: str) -> list[str]:
        asked = period | more | ({"customer": customer} if customer else {})
        answer = served.get("/v1/usage", role=role, params=asked)
        assert answer.status_code in {200, 404}, answer.text
        return [row["customer"] for row in answer.json().get("items", [])]

    assert [seen("customer", name) for name in (None, "lab", "beta")] == [["acme"], ["lab"], []]
    assert [seen("lab", name) for name in (None, "acme", "lab-2")] == [["lab"], [], []]
    assert seen("beta", "lab") == []
    # By the price of its parent, whose subscription it does not see in a list.
    priced = served.get("/v1/charges", role="lab", params=hour).json()["items"]
    assert [row["unpriced_quantity"] for row in priced] == [0]
    shown = {
        role: [row["customer_id"] for row in served.get("/v1/customers", role=role).json()["items"]]
        for role in ("customer", "lab", "beta")
    }
    assert shown == {"customer": ["acme", "lab", "lab-2"], "lab": ["lab"], "beta": ["beta"]}
    assert served.get("/v1/subscriptions", role="lab").json()["items"] == []
    assert served.get("/v1/subscriptions/sub-acme", role="lab").status_code == 404
    body = {"subscription_id": "sub-acme", "at": "2023-11-16T00:00:00Z"}
    issued = served.post("/v1/invoices", body, role="finance").json()
    issued = served.get(f"/v1/invoices/{issued['invoice_id']}", role="customer").json()
    assert {line["used_by"] for line in issued["lines"]} == {"", "lab", "lab-2"}
    path = f"/v1/invoices/{issued['invoice_id']}"
    assert served.get(path, role="lab").status_code == 404
    assert served.get(f"{path}/pdf", role="customer").content.startswith(b"%PDF")
    file = served.get(f"{path}/usage", role="customer", params={"customer": "lab"}).text
    assert {row.split(",")[-1] for row in file.splitlines()[1:]} == {"lab"}
    assert [",c," in row for row in file.splitlines()[1:]] == [True] * 2
    check_lines(served, path, issued["lines"])
    ended = {"customer_id": "lab", "valid_from": "2023-01-01T00:00:00Z"}
    assert served.call("POST", "/v1/parents?replace=true", json=ended).status_code == 201
    assert seen("customer", "lab") == []


def check_lines(served: Served, path: str, lines: list[dict[str, Any]]) -> None:
    """The statements of lines are those of the whole, and for whoever may see that."""
    whole = served.get(f"{path}/usage", role="customer").text.splitlines()
    by_line = [f"{path}/lines/{line['line_no']}/usage" for line in lines]
    files = [served.get(each, role="customer").text.splitlines() for each in by_line]
    assert {file[0] for file in files} == {whole[0]}
    assert [row for file in files for row in file[1:]] == whole[1:]
    assert served.get(by_line[0], role="lab").status_code == 404
    refused = served.get(f"{path}/lines/99/usage", role="customer")
    assert (refused.status_code, "has no line 99" in refused.text) == (404, True)


OWN_ONLY = ("customer", "subscription", "usage_key", "usage_delta", "charge")
HOUSE_ONLY = ("cost_allocation", "cost_pool", "journal_entry", "posting", "receipt", "asset")


async def fill(served: Served, worker: Connection) -> None:
    books = served.books

    await books.usage(WINDOW, Tokens(uncached=5))
    await books.usage(WINDOW, Tokens(uncached=7), buyer=Buyer(customer_id="beta", customer_ref="b"))
    await settled(worker)


@pytest.mark.parametrize("table", OWN_ONLY)
async def test_the_database_itself_hides_other_customers(
    served: Served,
    worker: Connection,
    api: Connection,
    owner: Connection,
    database: Database,
    table: str,
) -> None:
    await fill(served, worker)
    query = f"SELECT DISTINCT customer_id FROM {table}"
    async with api.transaction():
        await ask_as(api, database, "customer", "acme")
        assert [row[0] for row in await api.fetch(query)] == ["acme"]
    assert await api.fetch(query) == []
    assert len(await owner.fetch(query)) == 2


@pytest.mark.parametrize("table", HOUSE_ONLY)
async def test_the_database_itself_hides_cost_from_customers(
    served: Served, worker: Connection, api: Connection, database: Database, table: str
) -> None:
    await fill(served, worker)
    async with api.transaction():
        await ask_as(api, database, "customer", "acme")
        assert await api.fetchval(f"SELECT count(*) FROM {table}") == 0
