"""Every operation by every kind of key: who may not is told so, and nobody sees or changes more.

A route without a line in the table fails, so that whoever adds one says who may use it.
"""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
from litestar.routes import HTTPRoute

from ledger.api.app import create_app
from ledger.api.failures import Failures
from ledger.embedded.postgres import EmbeddedServer
from ledger.settings import Settings
from ledger.store.connect import SESSION, Reached, another
from ledger.store.queries import Connection
from ledger.wire.limits import CORRECTION
from tests.api.conftest import Filled
from tests.api.full_books import entry_id, notice_id
from tests.api.reaching import REACHING
from tests.api.served import Served, attempt, serve
from tests.api.two_entities import FOREIGN, FROM, OWN, PERIOD, entered, fill_two, make_keys, used
from tests.support.database import Database, fresh_database, run_apart

ALL = frozenset({"admin", "finance", "ingest", "customer"})
HOUSE, READERS = frozenset({"admin", "finance"}), frozenset({"admin", "finance", "customer"})
ADMIN, SENDERS = frozenset({"admin"}), frozenset({"admin", "ingest"})
RESERVERS = frozenset({"admin", "ingest", "customer"})
# Kinds of keys: the role each has, and whether it is bound to an entity.
KEYS = {
    "admin": ("admin", False),
    "bound admin": ("admin", True),
    "finance": ("finance", False),
    "bound finance": ("finance", True),
    "ingest": ("ingest", False),
    "bound ingest": ("ingest", True),
    "ingest of customers": ("ingest", False),
    "customer": ("customer", False),
}


# Every route is asked as everybody, thousands of times in all.
pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True, slots=True)
class Line:
    """Whose roles may use an operation (None: everybody), and how a bound key is held.

    rows: it sees its own; query: it must name its entity; names: it may name its own only;
    never: it is refused.
    """

    roles: frozenset[str] | None
    held: str = "never"


def resource(path: str, readers: frozenset[str], *, enter: str = "names") -> dict[str, Line]:
    """The operations of what is entered."""
    return listed(path, readers) | {f"POST /v1/{path}": Line(HOUSE, enter)}


def listed(path: str, readers: frozenset[str]) -> dict[str, Line]:
    """The operations of what nobody enters."""
    return dict.fromkeys((f"GET /v1/{path}", f"GET /v1/{path}/{{}}"), Line(readers, "rows"))


OPERATIONS = {
    "GET /": Line(None),
    "GET /web/{}": Line(None),
    "GET /web/vendor/{}": Line(None),
    "GET /healthz": Line(None),
    "GET /readyz": Line(None),
    "GET /metrics": Line(HOUSE),
    "GET /v1/me": Line(ALL, "rows"),
    "POST /v1/events": Line(SENDERS, "names"),
    **resource("entities", READERS),
    "PATCH /v1/entities/{}": Line(HOUSE, "names"),
    **resource("customers", READERS),
    "PATCH /v1/customers/{}": Line(HOUSE, "names"),
    **resource("aliases", HOUSE),
    **resource("parents", READERS),
    **resource("facilities", HOUSE),
    **resource("pues", HOUSE),
    **resource("energy-meters", HOUSE),
    **resource("weight-sets", HOUSE),
    **resource("idle-policies", HOUSE),
    **resource("site-costs", HOUSE),
    **resource("utility-bills", HOUSE),
    **resource("grid-factors", HOUSE),
    **resource("assets", HOUSE),
    **resource("tariffs", HOUSE),
    "GET /v1/tariffs/{}/prices": Line(HOUSE, "rows"),
    "POST /v1/tariffs/{}/prices": Line(HOUSE, "names"),
    **resource("deployments", HOUSE),
    **resource("rate-cards", READERS),
    "GET /v1/rate-cards/{}/prices": Line(READERS, "rows"),
    "POST /v1/rate-cards/{}/prices": Line(HOUSE, "names"),
    **resource("subscriptions", READERS),
    **resource("budgets", READERS),
    **listed("budget-balances", READERS),
    **listed("budget-alerts", READERS),
    **listed("reservations", READERS),
    **resource("grants", READERS),
    **resource("top-up-rules", READERS),
    **listed("credit-balances", READERS),
    **listed("credit-events", READERS),
    **listed("agent-runs", READERS),
    "POST /v1/ends": Line(HOUSE, "names"),
    "POST /v1/reservations": Line(RESERVERS, "names"),
    "POST /v1/reservations/{}/release": Line(RESERVERS, "names"),
    **resource("tax-rates", HOUSE, enter="never"),
    **resource("tax-registrations", HOUSE),
    **resource("tax-treatments", HOUSE),
    **resource("payments", READERS),
    **resource("webhooks", HOUSE),
    "POST /v1/webhooks/{}/secret": Line(HOUSE, "names"),
    "POST /v1/webhooks/{}/state": Line(HOUSE, "names"),
    **listed("notices", HOUSE),
    **listed("deliveries", HOUSE),
    "POST /v1/notices/{}/replay": Line(HOUSE, "names"),
    **resource("dunning-policies", HOUSE),
    **listed("dunning-letters", READERS),
    "GET /v1/dunning-letters/{}/pdf": Line(READERS, "rows"),
    "POST /v1/dunning": Line(HOUSE, "query"),
    **listed("disputes", READERS),
    "POST /v1/invoices/{}/disputes": Line(HOUSE, "names"),
    "POST /v1/disputes/{}/resolution": Line(HOUSE, "names"),
    **listed("closes", HOUSE),
    "POST /v1/closes": Line(HOUSE, "names"),
    "GET /v1/entities/{}/months": Line(HOUSE, "names"),
    **listed("bank-entries", HOUSE),
    "POST /v1/bank-statements": Line(HOUSE, "query"),
    "POST /v1/entities/{}/logo": Line(HOUSE, "names"),
    "POST /v1/bank-entries/{}/match": Line(HOUSE, "names"),
    "POST /v1/bank-entries/{}/dismiss": Line(HOUSE, "names"),
    **listed("credit-notes", READERS),
    "GET /v1/credit-notes/{}/pdf": Line(READERS, "rows"),
    "GET /v1/credit-notes/{}/xml": Line(READERS, "rows"),
    "GET /v1/receivables": Line(HOUSE, "query"),
    "POST /v1/invoices/{}/credit-notes": Line(HOUSE, "names"),
    **resource("fx-rates", HOUSE, enter="never"),
    "GET /v1/keys": Line(ADMIN),
    "GET /v1/keys/{}": Line(ADMIN),
    "POST /v1/keys": Line(ADMIN),
    "POST /v1/keys/{}/revocation": Line(ADMIN),
    "GET /v1/usage": Line(READERS, "rows"),
    "GET /v1/margins": Line(HOUSE, "query"),
    "GET /v1/costs": Line(HOUSE, "query"),
    "GET /v1/costs/evidence": Line(HOUSE, "query"),
    "GET /v1/energy": Line(HOUSE, "query"),
    "GET /v1/sites": Line(HOUSE, "query"),
    "GET /v1/bills": Line(HOUSE, "query"),
    "GET /v1/balances": Line(HOUSE, "query"),
    "GET /v1/efficiency": Line(HOUSE, "query"),
    "GET /v1/producers": Line(HOUSE, "query"),
    "GET /v1/calibrations": Line(HOUSE, "query"),
    "GET /v1/agents": Line(HOUSE, "query"),
    "GET /v1/agent": Line(HOUSE, "query"),
    "GET /v1/coverage": Line(HOUSE, "query"),
    "GET /v1/engines": Line(HOUSE, "query"),
    "GET /v1/hourly": Line(HOUSE, "query"),
    "GET /v1/findings": Line(HOUSE, "query"),
    "GET /v1/charges": Line(READERS, "rows"),
    "GET /v1/extras": Line(READERS, "rows"),
    "GET /v1/invoices/coming": Line(READERS, "rows"),
    "GET /v1/activity": Line(READERS, "rows"),
    "GET /v1/status": Line(HOUSE),
    "POST /v1/invoices/preview": Line(HOUSE, "names"),
    "GET /v1/invoices": Line(READERS, "rows"),
    "POST /v1/invoices": Line(HOUSE, "names"),
    "POST /v1/invoices/run": Line(HOUSE, "names"),
    "GET /v1/invoices/{}": Line(READERS, "rows"),
    "GET /v1/invoices/{}/pdf": Line(READERS, "rows"),
    "GET /v1/invoices/{}/xml": Line(READERS, "rows"),
    "GET /v1/invoices/{}/lines/{}/events": Line(READERS, "rows"),
    "GET /v1/invoices/{}/usage": Line(READERS, "rows"),
    "GET /v1/invoices/{}/lines/{}/usage": Line(READERS, "rows"),
    "GET /v1/subscriptions/{}/adjustments": Line(HOUSE, "names"),
    "GET /v1/suspense": Line(HOUSE),
    "POST /v1/suspense/{}/release": Line(HOUSE),
    "POST /v1/suspense/dismiss": Line(HOUSE),
    "POST /v1/quarantine/{}/dismiss": Line(HOUSE),
    "GET /v1/conflicts": Line(HOUSE),
    "GET /v1/conflicts/{}": Line(HOUSE),
    "POST /v1/conflicts/{}/resolve": Line(HOUSE),
    "GET /v1/unpriced": Line(HOUSE, "query"),
    "GET /v1/quarantine": Line(HOUSE),
    "GET /v1/quarantine/{}/raw": Line(ADMIN),
    "GET /v1/exports": Line(HOUSE, "rows"),
    "GET /v1/exports/{}": Line(HOUSE, "query"),
}


def served_operations() -> Iterator[str]:
    """METHOD and path of everything the app answers to, its own schema left out."""
    for route in create_app(Settings()).routes:
        if isinstance(route, HTTPRoute) and not route.path.startswith("/schema"):
            for handler in route.route_handlers:
                for method in sorted(handler.http_methods - {"OPTIONS"}):
                    yield f"{method} {re.sub(r'{[^}]*}', '{}', route.path)}"


def test_every_operation_has_a_line() -> None:
    assert sorted(served_operations()) == sorted(OPERATIONS)


@pytest.fixture(scope="module")
def both(server: EmbeddedServer, roomy: str) -> Iterator[Filled]:
    """Two entities with something of every kind, and keys of every kind."""
    with fresh_database(server, roomy) as database:
        yield Filled(database.name, run_apart(_fill(database)))


async def _fill(database: Database) -> dict[str, str]:
    reached = Reached(database.worker_url, SESSION)
    async with another(reached) as worker, serve(database, worker) as served:
        # What every served API has is of a third entity, which nobody here may meet either.
        await fill_two(served, worker)
        make_keys(served)
        return served.keys


@pytest.fixture
def begins_with(both: Filled) -> str:
    return both.template


@pytest.fixture
async def two(database: Database, worker: Connection, both: Filled) -> AsyncIterator[Served]:
    async with serve(database, worker, both.keys) as served:
        yield served


def filled(operation: str, entity: str, customer: str, invoice_id: int = 1) -> tuple[str, str]:
    """METHOD and a path that names what an entity has."""
    method, path = operation.split(" ")
    named = {
        "entities": entity,
        "customers": customer,
        "aliases": f"{customer}-crm",
        "parents": f"{customer}-lab",
        "facilities": f"{entity}-site",
        "pues": f"{entity}-site",
        "site-costs": f"{entity}-site",
        "grid-factors": f"{entity}-site",
        "utility-bills": f"{entity}-bill",
        "energy-meters": f"{entity}-host",
        "assets": f"{entity}-asset",
        "tariffs": f"{entity}-tariff",
        "deployments": f"{entity}-dep",
        "weight-sets": f"{entity}-dep",
        "idle-policies": entity,
        "rate-cards": f"{entity}-card",
        "subscriptions": f"{customer}-sub",
        **dict.fromkeys(("budgets", "budget-balances", "budget-alerts"), f"{customer}-budget"),
        "reservations": f"{customer}-reservation",
        "grants": f"{customer}-credit",
        "agent-runs": f"{customer}-run",
        **dict.fromkeys(("top-up-rules", "credit-balances", "credit-events"), customer),
        "fx-rates": "EUR-USD",
        "tax-rates": "US",
        **dict.fromkeys(("tax-registrations", "dunning-policies"), entity),
        **dict.fromkeys(("dunning-letters", "disputes"), str(invoice_id)),
        "closes": entity,
        "tax-treatments": customer,
        "payments": f"{customer}-bank-1",
        "webhooks": f"{entity}-hook",
        "bank-entries": entry_id(entity),
        **dict.fromkeys(("notices", "deliveries"), notice_id(entity, f"{customer}-bank-1")),
        "credit-notes": f"{entity}-C-2023-000001",
        "invoices": str(invoice_id),
        "suspense": "nobody",
        "exports": "usage",
        "quarantine": "1",
    }
    for word, name in named.items():
        path = path.replace(f"/{word}/{{}}", f"/{word}/{name}")
    return method, path.replace("{}", "1")


def asked(entity: str) -> dict[str, str]:
    """Every query parameter that a report takes."""
    return {**PERIOD, "entity": entity}


async def test_nobody_does_what_its_key_is_not_for(two: Served) -> None:
    for operation, line in OPERATIONS.items():
        method, path = filled(operation, *OWN)
        for key, (role, bound) in KEYS.items():
            status = two.call(method, path, role=key, json={}).status_code
            told = f"{operation} by {key}: {status}"
            if line.roles is None:
                assert status not in {401, 403}, told
            elif role not in line.roles or (bound and line.held == "never"):
                assert status == 403, told
            elif not bound:
                assert status not in {401, 403}, told
            assert status < 500 or operation == "GET /readyz", told
        # Else the many keys that are none would make this address wait.
        two.client.app.state.ledger.failures = Failures()
        for nobody in (None, "revoked"):
            status = two.call(method, path, role=nobody, json={}).status_code
            assert (status == 401) == (line.roles is not None), f"{operation}, {nobody}: {status}"


def invoice_ids(served: Served) -> dict[str, int]:
    found = served.get("/v1/invoices").json()["items"]
    return {row["customer_id"]: row["invoice_id"] for row in found}


async def test_what_is_read_is_of_its_own_entity(two: Served) -> None:
    ids = invoice_ids(two)
    for key in ("bound admin", "bound finance", "customer"):
        reads_its_own(two, key, ids)


def reads_its_own(two: Served, key: str, ids: dict[str, int]) -> None:
    """Ask everything with every parameter, and find nothing of anybody else in any answer."""
    shown = 0
    for operation, line in OPERATIONS.items():
        if line.roles is None or not operation.startswith("GET"):
            continue
        for entity, customer in (OWN, FOREIGN):
            method, path = filled(operation, entity, customer, ids[customer])
            for params in ({}, PERIOD, asked(OWN[0]), asked(FOREIGN[0])):
                answer = two.call(method, path, role=key, params=params)
                told = f"{operation} by {key} with {params}: {answer.text[:300]}"
                if answer.status_code == 200:
                    said = answer.content.lower()
                    assert not [word for word in (*FOREIGN, "factory") if word.encode() in said], (
                        told
                    )
                    shown += any(word.encode() in said for word in OWN)
                if line.held == "query" and key != "customer":
                    assert (answer.status_code == 403) == (params != asked(OWN[0])), told
    assert shown > 10


async def test_coverage_is_of_its_own_entity_alone(two: Served) -> None:
    nobodys = attempt("stray", customer_id="nobody", engine={"instance": "forge-engine"})
    assert two.send(nobodys, role="admin").json()["counts"]["suspense"] == 1
    whole = two.get("/v1/coverage", params=asked(OWN[0])).json()
    own = two.get("/v1/coverage", role="bound finance", params=asked(OWN[0])).json()
    assert {row["engine_instance"] for row in whole["engines"]} == {"mill-engine", "forge-engine"}
    assert {row["engine_instance"] for row in own["engines"]} == {"mill-engine"}
    assert own["usage"]["tokens"] == 1100 < whole["usage"]["tokens"]
    assert own["energy"] == whole["energy"] != []


async def test_totals_are_of_its_own_entity_alone(two: Served) -> None:
    for path in ("/v1/usage", "/v1/hourly"):
        whole = two.get(path, params=asked(OWN[0])).json()["items"]
        own = two.get(path, role="bound finance", params=asked(OWN[0])).json()["items"]
        assert own == whole != []
    foreign = two.get("/v1/usage", role="bound finance", params=asked(FOREIGN[0]))
    assert foreign.json()["items"] == []
    assert two.get("/v1/hourly", role="bound finance", params=asked(FOREIGN[0])).status_code == 403
    (row,) = two.get("/v1/usage", role="bound finance", params={**PERIOD, "by": ""}).json()["items"]
    assert row["uncached"] == 1000


async def test_what_a_cost_came_from_is_of_its_own_entity_alone(two: Served) -> None:
    of_own = {"entity": OWN[0], "at": "2023-11-16T18:17:00Z"}
    path, own, foreign = "/v1/costs/evidence", "deployment:mill-dep", "deployment:forge-dep"
    for key in ("bound admin", "bound finance"):
        found = two.get(path, role=key, params={**of_own, "cost_scope": own}).json()
        assert found["deployment"]["deployment_id"] == "mill-dep"
        assert "usage" in {line["line"] for line in found["lines"]}
        refused = two.get(path, role=key, params={**of_own, "cost_scope": foreign})
        assert refused.status_code == 404
        assert own in refused.text
        of_foreign = {**of_own, "entity": FOREIGN[0], "cost_scope": foreign}
        assert two.get(path, role=key, params=of_foreign).status_code == 403


TABLES = """
SELECT table_name FROM information_schema.tables
 WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
   AND table_name NOT IN (
       'cut_off', 'receipt', 'quarantine', 'quarantine_raw', 'source', 'source_form', 'usage_key')
"""


async def counts(owner: Connection) -> dict[str, int]:
    """Rows of every table but of those that say what was refused, and under which names."""
    names = [row[0] for row in await owner.fetch(TABLES)]
    each = " UNION ALL ".join(f"""SELECT '{name}', count(*) FROM "{name}" """ for name in names)
    return {row[0]: row[1] for row in await owner.fetch(each)}


OVER = {"kind": "subscriptions", "valid_from": "2030-01-01T00:00:00Z"}


def written(entity: str, customer: str) -> dict[str, list[dict[str, Any]]]:
    """A body of every operation that writes, naming an entity's own."""
    bodies: dict[str, list[dict[str, Any]]] = {
        f"POST /v1/{path}": [body] for path, body in entered(entity, customer)
    }
    at = {"subscription_id": f"{customer}-sub", "at": "2023-11-16T00:00:00Z"}
    change = {"valid_from": "2024-01-01", "name": "Renamed"}
    return bodies | {
        f"POST /v1/webhooks/{entity}-hook/secret": [{}],
        f"POST /v1/bank-entries/{entry_id(entity)}/match": [{"customer_id": customer}],
        f"POST /v1/webhooks/{entity}-hook/state": [{"active": False, "reason": "for a test"}],
        f"POST /v1/notices/{notice_id(entity, f'{customer}-bank-1')}/replay": [{}],
        f"PATCH /v1/entities/{entity}": [change],
        f"PATCH /v1/customers/{customer}": [change],
        "POST /v1/ends": [{**OVER, "id": f"{customer}-sub"}],
        "POST /v1/invoices/preview": [at],
        "POST /v1/invoices": [at],
    }


def reaching_assets() -> list[tuple[str, dict[str, Any]]]:
    own = dict(entered(*OWN))
    asset, deployment = own["assets"], own["deployments"]
    return [
        ("assets", {**asset, "asset_id": "forge-asset"}),
        ("assets", {**asset, "asset_id": "new", "facility_id": "forge-site"}),
        ("deployments", {**deployment, "deployment_id": "forge-dep"}),
        ("deployments", {**deployment, "deployment_id": "new", "asset_id": "forge-asset"}),
    ]


async def test_what_is_written_is_of_its_own_entity(two: Served, owner: Connection) -> None:
    tried = [(op, body) for op, bodies in written(*FOREIGN).items() for body in bodies]
    tried += [(op, body) for op, bodies in REACHING.items() for body in bodies]
    tried += [(f"POST /v1/{path}", body) for path, body in reaching_assets()]
    before = await counts(owner)
    for operation, body in tried:
        method, path = operation.split(" ")
        for key, params in product(("bound admin", "bound finance"), ({}, {"replace": "true"})):
            answer = two.call(method, path, role=key, json=body, params=params)
            refused = {403, 422} if params else {403}
            assert answer.status_code in refused, f"{operation} {body} {params}: {answer.text}"
            assert "delta" not in answer.text
    assert await counts(owner) == before
    for operation, bodies in written(*OWN).items():
        method, path = operation.split(" ")
        answer = two.call(method, path, role="bound finance", json=bodies[0])
        assert answer.status_code not in {401, 403}, f"{operation}: {answer.text}"
        assert answer.status_code < 300 or operation == "POST /v1/invoices", answer.text


def reading(gpu: str) -> dict[str, Any]:
    data = {"gpu_uuid": gpu, "epoch": "e", "energy_mj": 5}
    return {
        **used(*OWN),
        **{"id": f"energy-{gpu}", "type": "gpu.energy.v1"},
        "data": data,
    }


async def test_what_is_sent_is_of_its_own_customers(two: Served, owner: Connection) -> None:
    for key in ("bound admin", "bound ingest", "ingest of customers"):
        before = await counts(owner)
        refuses_foreign(two, key)
        assert await counts(owner) == before
        fine = two.send({**used(*OWN), "id": f"by {key}"}, reading("GPU-mill"), role=key).json()
        assert fine["counts"]["counted"] + fine["counts"]["duplicate"] == 2, fine


def refuses_foreign(two: Served, key: str) -> None:
    """Send usage, corrections, ids and readings of others, each alone."""
    mine, other, over = used(*OWN), used(*FOREIGN), {"supersedes": "delta-event", "revision": 1}
    tried = [
        {**other, "id": "new-1"},
        {**mine, "id": "new-2", "data": {**mine["data"], "customer_id": "delta-crm"}},
        {**mine, "id": "new-3", "data": {**mine["data"], "customer_id": "unheard-of"}},
        {**other, "id": "new-4", "type": CORRECTION, "data": {**other["data"], **over}},
        {**other, "id": "delta-event"},
    ]
    if key != "ingest of customers":
        tried.append(reading("GPU-forge"))
    for event in tried:
        (item,) = two.send(event, role=key).json()["items"]
        assert item["outcome"] == "rejected", f"{event}: {item}"
        assert item["reason"] in {"forbidden_customer", "forbidden_target"}, item


async def test_an_answer_given_once_is_kept_for_its_key_alone(two: Served) -> None:
    body = {"alias": "gamma-new", "customer_id": "gamma", **FROM}
    first = two.post("/v1/aliases", body, role="bound finance", idempotency_key="k")
    assert first.status_code == 201
    again = two.post("/v1/aliases", body, role="bound finance", idempotency_key="k")
    assert again.content == first.content
    foreign = {"alias": "delta-new", "customer_id": "delta", **FROM}
    assert two.post("/v1/aliases", foreign, idempotency_key="k2").status_code == 201
    refused = two.post("/v1/aliases", foreign, role="bound finance", idempotency_key="k2")
    assert refused.status_code == 403


async def test_a_bound_admin_makes_no_key_that_is_not_bound(two: Served) -> None:
    refused = two.post("/v1/keys", {"role": "admin"}, role="bound admin")
    assert refused.status_code == 403
