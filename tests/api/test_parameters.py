"""Paths and queries: what a route does not know, or no value can mean, is refused by its name."""

from urllib.parse import quote

import pytest

from tests.api.served import Served

PERIOD = "since=2023-11-01T00:00:00Z&until=2023-12-01T00:00:00Z"
BAD = [
    ("/v1/customers?entty=factory", "entty"),
    ("/v1/customers/acme?entity=factory", "entity"),
    ("/v1/customers?limit=1&limit=2", "limit"),
    ("/v1/customers?limit=0", "limit"),
    ("/v1/customers?limit=1001", "limit"),
    ("/v1/customers?limit=99999999999999999999999", "limit"),
    ("/v1/customers?limit=" + "9" * 990, "limit"),
    ("/v1/customers?limit=1.5", "limit"),
    ("/v1/customers?limit=", "limit"),
    ("/v1/customers?entity=%00", "query"),
    ("/v1/customers?entity=%ff%fe", "query"),
    ("/v1/customers?entity=%ed%a0%80", "query"),
    ("/v1/customers?entity=" + "x" * 1001, "entity"),
    ("/v1/customers?at=yesterday", "at"),
    ("/v1/customers?at=0001-01-01T00:00:00%2B14:00", "at"),
    ("/v1/usage?until=2023-12-01T00:00:00Z", "since"),
    (f"/v1/usage?{PERIOD}&by=colour", "by"),
    (f"/v1/margins?{PERIOD}", "entity"),
    (f"/v1/exports/invoices?{PERIOD}&entity=factory&raw=perhaps", "raw"),
    ("/v1/customers/" + "x" * 257, "key"),
    ("/v1/customers/%00", "key"),
    ("/v1/invoices/1/lines/99999999999999999999999/events", "line_no"),
    ("/v1/invoices/%00", "invoice_id"),
    ("/v1/invoices/" + "x" * 257, "invoice_id"),
    ("/healthz?deep=true", "deep"),
]


@pytest.mark.parametrize(("path", "pointer"), BAD, ids=lambda value: str(value)[:60])
async def test_it_is_refused_by_its_name(served: Served, path: str, pointer: str) -> None:
    answer = served.get(path)
    assert (answer.status_code, answer.json().get("pointer")) == (422, pointer), answer.text
    assert len(answer.json()["detail"]) < 400


@pytest.mark.parametrize("path", ["/v1/invoices/-1", "/v1/invoices/x", "/v1/nothing"])
async def test_what_is_no_path_is_not_found(served: Served, path: str) -> None:
    assert served.get(path).status_code == 404


async def test_what_a_boundary_allows_is_allowed(served: Served) -> None:
    for path in (
        "/v1/customers?limit=1000",
        "/v1/customers?entity=" + "x" * 1000,
        "/v1/customers?at=2199-12-31T00:00:00Z",
        "/v1/customers?entity=" + quote("Ünïcode 名"),
    ):
        assert served.get(path).status_code == 200, path
    assert served.get("/v1/invoices/9223372036854775807").status_code == 404
