"""What is asked where nothing is, or in a way that nothing takes, is told what there is."""

from tests.api.served import Served


def test_a_path_that_is_none_is_named(served: Served) -> None:
    said = served.get("/v1/invoices/ACME-2026-000001")
    assert said.status_code == 404
    assert said.json()["detail"] == (
        "There is nothing at '/v1/invoices/ACME-2026-000001'."
        " See /schema/openapi.json for what there is."
    )


def test_a_method_that_is_not_for_a_path_is_told_which_are(served: Served) -> None:
    for method in ("DELETE", "PUT", "HEAD"):
        said = served.call(method, "/v1/customers/acme")
        assert said.status_code == 405
        assert said.headers["allow"] == "GET, OPTIONS, PATCH"
    detail = served.call("PUT", "/v1/customers/acme").json()["detail"]
    assert detail == "PUT is not for '/v1/customers/acme'. Use GET, OPTIONS, PATCH."


def test_options_are_answered(served: Served) -> None:
    assert served.call("OPTIONS", "/v1/customers").status_code == 204
