"""Every answer over full books: as the document says, and said the same way wherever it is asked.

`Served` holds each answer to the closed schema of its operation (tests/api/held.py).
"""

from typing import Any

import jsonschema_rs
import pytest

from ledger import clock
from ledger.store.queries import Connection
from tests.api.documented import OPERATIONS, Operation
from tests.api.full_books import ISSUE, PERIOD, RUN, entry_id, fill, notice_id
from tests.api.held import DOCUMENT
from tests.api.served import Served

ONE = {
    **{"entities": "factory", "customers": "acme", "aliases": "crm%2F7%20%C3%BC", "parents": "lab"},
    **{
        "facilities": "site",
        "pues": "site",
        "site-costs": "site",
        "grid-factors": "site",
        "utility-bills": "esb-1",
        "energy-meters": "GPU-a",
        "assets": "rack",
        "tariffs": "power",
    },
    **{"closes": "factory", "weight-sets": "chat", "idle-policies": "factory"},
    **{"deployments": "chat", "rate-cards": "card-acme", "subscriptions": "sub-acme"},
    **{"fx-rates": "EUR-USD", "exports": "journal_lines", "tax-rates": "IE"},
    **{"tax-registrations": "factory", "tax-treatments": "acme", "payments": "bank-1"},
    **dict.fromkeys(("budgets", "budget-balances", "budget-alerts"), "tight"),
    "reservations": "res-1",
    "webhooks": "erp",
    "dunning-policies": "factory",
    **dict.fromkeys(("dunning-letters", "disputes"), "1"),
    "bank-entries": entry_id("factory"),
    **dict.fromkeys(("notices", "deliveries"), notice_id("factory", "bank-1")),
    "grants": "credit-1",
    "agent-runs": "run-1",
    **dict.fromkeys(("top-up-rules", "credit-balances", "credit-events"), "acme"),
    "credit-notes": f"FACTORY-C-{clock.now().year}-000001",
}
# What nothing in these books can have: a coming invoice is of a period that is not over.
EMPTY = {"coming"}


def asked(one: Operation, served: Served) -> tuple[str, dict[str, Any]]:
    """The path of an operation with ids of these books, and its query."""
    group = one.path.split("/")[2] if one.path.startswith("/v1/") else ""
    path = one.path
    for place, value in (
        ("{key}", ONE.get(group, served.keys["finance"].split("_")[1])),
        ("{subscription_id}", "sub-acme"),
        ("{format_name}", "usage"),
        ("{invoice_id}", "1"),
        ("{number}", "1"),
        ("{line_no}", "1"),
        ("{conflict_id}", "1"),
        ("{letter_id}", "1"),
        ("{quarantine_id}", "1"),
    ):
        path = path.replace(place, value)
    known = {each["name"] for each in one.said["parameters"] if each["in"] == "query"}
    given = {**PERIOD, "entity": "factory", "customer": "acme", "limit": 5}
    if group == "agent":
        given |= {"agent": RUN["id"]}
    if group == "costs":
        given |= {"cost_scope": "deployment:chat", "at": PERIOD["since"]}
    if group in {"fx-rates", "keys", "tax-rates"}:
        del given["entity"]
    return path, {name: value for name, value in given.items() if name in known}


async def test_every_question_is_answered_as_the_document_says(
    served: Served, worker: Connection
) -> None:
    await fill(served, worker)
    for one in OPERATIONS:
        if one.method != "get":
            continue
        path, query = asked(one, served)
        answer = served.get(path, params=query)
        assert answer.status_code == 200, (one.name, answer.text)
        if answer.headers["content-type"] == "application/json":
            rows = answer.json().get("items")
            assert rows is None or rows or one.name in EMPTY, one.name


@pytest.mark.parametrize("by", ["tier", "customer", "agent", "model"])
async def test_reports_by_every_dimension_are_as_the_document_says(
    served: Served, worker: Connection, by: str
) -> None:
    await fill(served, worker)
    asked_by = {**PERIOD, "entity": "factory", "by": by}
    margin = served.get("/v1/margins", params=asked_by).json()
    assert margin["items"]
    assert served.get("/v1/charges", params={**asked_by, "by": f"{by},meter,day"}).json()["items"]
    assert served.get("/v1/usage", params={**asked_by, "by": f"{by},hour"}).json()["items"]


async def test_bodies_of_invoices_are_read_by_the_model_that_the_document_shows(
    served: Served, worker: Connection
) -> None:
    await fill(served, worker)
    for path in ("/v1/invoices", "/v1/invoices/preview"):
        for change, pointer in (
            ({"at": "tomorrow"}, "at"),
            ({"at": "2023-11-31"}, "at"),
            ({"at": 5}, "at"),
            ({"subscription_id": "../../evil"}, "subscription_id"),
            ({"supplementary": "yes"}, "supplementary"),
            ({"suplementary": True}, "suplementary"),
        ):
            refused = served.post(path, {**ISSUE, **change})
            assert refused.status_code == 422, change
            assert pointer in {each["pointer"] for each in refused.json()["errors"]}
    by_day = served.post("/v1/invoices/preview", ISSUE).json()
    by_time = served.post("/v1/invoices/preview", {**ISSUE, "at": "2023-11-16T18:17:03Z"}).json()
    del by_day["cut_off_id"], by_time["cut_off_id"]
    assert by_day == by_time


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        *(("Hour", "revenue", value) for value in ("-0", "-0.00", "1e3", 1, 1.5, "NaN", "+1")),
        *(("Hour", "hour", f"2024-01-01T00:00:00{rest}") for rest in ("Z", "+00:00", "")),
        ("Hour", "price", "1"),
    ],
)
def test_an_answer_that_the_encoder_would_not_write_fails(
    name: str, field: str, value: Any
) -> None:
    hour = {"hour": "2024-01-01T00:00:00.000000Z", "currency": "EUR", "revenue": "-0.01"}
    row = {**hour, "cost": None, "idle": "0.00"}
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    assert jsonschema_rs.is_valid(schema, row)
    assert not jsonschema_rs.is_valid(schema, {**row, field: value})
