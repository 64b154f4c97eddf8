"""What is asked where nothing is, or in a way that nothing takes, is told what there is."""

import re

from ledger.api.app import HANDLERS
from tests.api.served import Served


def test_a_path_that_is_none_is_named(served: Served) -> None:
    said = served.get("/v1/invoice/ACME-2026-000001")
    assert said.status_code == 404
    assert said.json()["detail"] == (
        "There is nothing at '/v1/invoice/ACME-2026-000001'."
        " See /schema/openapi.json for what there is."
    )


def test_a_method_that_is_not_for_a_path_is_told_which_are(served: Served) -> None:
    for method in ("DELETE", "PUT", "HEAD"):
        said = served.call(method, "/v1/customers/acme")
        assert said.status_code == 405
        assert said.headers["allow"] == "GET, OPTIONS, PATCH"
    detail = served.call("PUT", "/v1/customers/acme").json()["detail"]
    assert detail == "PUT is not for '/v1/customers/acme'. Use GET, OPTIONS, PATCH."


def test_options_name_every_method_of_a_path_to_whoever_asks(served: Served) -> None:
    for path in {path for handler in HANDLERS for path in handler.paths}:
        there = re.sub(r"{[^}]*}", "7", path)
        wrong = served.call("TRACE", there)
        said = served.call("OPTIONS", there, role="customer")
        assert (said.status_code, said.content) == (204, b""), path
        assert said.headers["allow"] == wrong.headers["allow"], path
    assert served.call("OPTIONS", "/v1/invoices").headers["allow"] == "GET, OPTIONS, POST"
