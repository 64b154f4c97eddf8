"""Slow facts by API: what is refused and why, who wrote what, and writes safe to repeat."""

from decimal import Decimal

import pytest

from ledger.api.answer import encode
from ledger.store.queries import Connection
from tests.api.served import Served, attempt

PRICE = {"meter": "cached_input", "amount": "0.5", "valid_from": "2023-01-01T00:00:00Z"}


async def test_wrong_fields_are_each_named(served: Served) -> None:
    answer = served.post("/v1/entities", {"entity_id": "x", "currency": "euro", "zonne": "UTC"})
    assert answer.status_code == 422
    pointers = {error["pointer"] for error in answer.json()["errors"]}
    assert {"currency", "zonne", "name", "zone"} <= pointers


async def test_malformed_json_says_so(served: Served) -> None:
    answer = served.call("POST", "/v1/entities", content=b'{"entity_id": ')
    assert (answer.status_code, answer.json()["title"]) == (400, "Malformed request")


async def test_overlapping_validity_is_a_conflict_unless_it_replaces(served: Served) -> None:
    assert served.post("/v1/rate-cards/card-acme/prices", PRICE).status_code == 201
    other = {**PRICE, "amount": "0.6"}
    refused = served.post("/v1/rate-cards/card-acme/prices", other)
    assert refused.status_code == 409
    assert "2023-01-01" in refused.json()["detail"]
    assert served.post("/v1/rate-cards/card-acme/prices?replace=true", other).status_code == 201
    prices = served.get("/v1/rate-cards/card-acme/prices").json()["items"]
    cached = [p for p in prices if p["meter"] == "input_cache_read"]
    assert [p["params"]["amount"] for p in cached] == ["0.6"]
    slipped = {**PRICE, "amount": "600001"}
    refused = served.post("/v1/rate-cards/card-acme/prices?replace=true", slipped)
    assert refused.status_code == 422
    assert "over 1,000 times" in refused.json()["detail"]


async def test_who_wrote_it_why_and_when_is_kept(served: Served, worker: Connection) -> None:
    sent = {"X_Reason": "new partner", "X_Request_Id": "ticket-7"}
    customer = {"customer_id": "gamma", "entity_id": "factory", "name": "Gamma"}
    assert served.post("/v1/customers", customer, role="finance", **sent).status_code == 201
    row = await worker.fetchrow("SELECT * FROM manual_write WHERE request_id = 'ticket-7'")
    assert row is not None
    assert (row["actor"], row["reason"]) == (served.keys["finance"].split("_")[1], "new partner")


async def test_a_repeated_write_answers_as_before(served: Served) -> None:
    sent = {"Idempotency_Key": "k1"}
    first = served.post("/v1/rate-cards/card-acme/prices", PRICE, **sent)
    again = served.post("/v1/rate-cards/card-acme/prices", PRICE, **sent)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    other = served.post("/v1/rate-cards/card-acme/prices", {**PRICE, "amount": "9"}, **sent)
    assert other.status_code == 409
    assert "another request" in other.json()["detail"]


async def test_suspense_is_released_to_a_customer_added_later(served: Served) -> None:
    served.send(attempt("a", customer_id="gamma"))
    (waiting,) = served.get("/v1/suspense").json()["items"]
    assert waiting["customer_ref"] == "gamma"
    customer = {"customer_id": "gamma", "entity_id": "factory", "name": "Gamma"}
    assert served.post("/v1/customers", customer).status_code == 201
    released = served.post("/v1/suspense/gamma/release", {}, role="finance")
    assert released.json() == {"customer_ref": "gamma", "released": 1}
    assert served.get("/v1/suspense").json()["items"] == []


async def test_pages_walk_through_everything_once(served: Served) -> None:
    seen, cursor = [], None
    while True:
        given = {"limit": 1, **({"cursor": cursor} if cursor else {})}
        page = served.get("/v1/customers", params=given).json()
        seen += [row["customer_id"] for row in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == ["acme", "beta"]
    assert served.get("/v1/customers", params={"cursor": "nonsense"}).status_code == 422
    assert served.get("/v1/customers", params={"limit": 0}).status_code == 422


async def test_a_margin_without_costs_names_what_is_missing(served: Served) -> None:
    period = {"entity": "factory", "since": "2023-11-01T00:00:00Z", "until": "2023-12-01T00:00:00Z"}
    served.send(attempt("a"))
    answer = served.get("/v1/margins", params=period)
    assert answer.status_code == 200
    report = answer.json()
    assert "assets and deployments" in report["missing"]
    (row,) = report["items"]
    assert (row["requests"], row["revenue"], row["cost"]) == (1, "0", None)
    assert report["total"]["gross_margin_pct"] is None
    assert report["conservation"] is None
    upside_down = {**period, "until": "2023-10-01T00:00:00Z"}
    assert served.get("/v1/margins", params=upside_down).status_code == 422


async def test_an_invoice_is_previewed_issued_and_exported(served: Served) -> None:
    served.send(attempt("a"))
    body = {"subscription_id": "sub-acme", "at": "2023-11-16T00:00:00Z"}
    draft = served.post("/v1/invoices/preview", body).json()
    assert (draft["exact_total"], draft["net_total"]) == ("0.006500", "0.01")
    issued = served.post("/v1/invoices", body)
    assert issued.status_code == 201
    assert issued.json()["net_total"] == "0.01"
    assert served.post("/v1/invoices", body).status_code == 409
    period = {"entity": "factory", "since": "2023-01-01T00:00:00Z", "until": "2099-01-01T00:00:00Z"}
    lines = served.get("/v1/exports/invoice_lines", params=period)
    assert lines.headers["content-type"].startswith("text/csv")
    assert issued.json()["number"] in lines.text
    assert served.get("/v1/exports/magic", params=period).status_code == 404


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Decimal("1E-12"), b'"0.000000000001"'),
        (Decimal("1E+3"), b'"1000"'),
        ([Decimal("-0"), Decimal("-0.00")], b'["0","0.00"]'),
        (2**62, b"4611686018427387904"),
        ({"a": None}, b'{"a":null}'),
    ],
)
def test_numbers_leave_exactly(value: object, expected: bytes) -> None:
    assert encode(value) == expected


def test_a_float_never_leaves() -> None:
    with pytest.raises(TypeError, match="float"):
        encode({"price": 0.1})


async def test_a_name_that_is_a_path_or_a_header_is_refused(served: Served) -> None:
    entity = {"entity_id": "e", "name": "E", "currency": "EUR", "zone": "UTC"}
    for field in ("entity_id", "invoice_prefix"):
        for evil in ("../../evil", "a\r\nX-Evil: 1", "/etc/passwd", "ＡＢ"):
            answer = served.post("/v1/entities", {**entity, field: evil})
            assert answer.status_code == 422, answer.text
            assert [one["pointer"] for one in answer.json()["errors"]] == [field]
