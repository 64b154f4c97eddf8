"""Webhooks over HTTP: refused by name where they lead inside, secrets in one answer alone."""

import pytest

from tests.api.served import Served

HOOK = {"webhook_id": "erp", "entity_id": "factory", "events": ["payment.received"]}
PUBLIC = {"url": "https://hooks.example.com/"}


@pytest.mark.parametrize(
    "url",
    [
        *("https://127.0.0.1/", "https://[::1]/", "https://10.0.0.8/x", "https://0x7f.1/"),
        *("https://metadata.google.internal/", "http://example.com/", "https://user@example.com/"),
        *("gopher://example.com/", "", "https://example.com/\r\nX: y"),
    ],
)
async def test_no_target_is_inside_the_house(served: Served, url: str) -> None:
    refused = served.post("/v1/webhooks", {**HOOK, "url": url})
    assert refused.status_code == 422
    said = refused.json()
    assert "url" in {said.get("pointer"), *(one["pointer"] for one in said.get("errors") or [])}
    assert served.get("/v1/webhooks").json()["items"] == []


async def test_a_secret_is_in_one_answer_and_nowhere_else(served: Served) -> None:
    assert served.post("/v1/webhooks", {**HOOK, **PUBLIC}).status_code == 201
    once = {"Idempotency-Key": "k"}
    refused = served.call("POST", "/v1/webhooks/erp/secret", json={}, headers=once)
    assert refused.status_code == 422
    made = served.post("/v1/webhooks/erp/secret", {}).json()
    assert made["secret"].startswith("whsec_")
    shown = served.get("/v1/webhooks/erp").json()
    assert shown["now"]["secret_since"] is not None
    assert made["secret"].removeprefix("whsec_") not in str(shown)
    assert served.post("/v1/webhooks/nobody/secret", {}).status_code == 404


async def test_a_webhook_is_switched_and_says_why(served: Served) -> None:
    served.post("/v1/webhooks", {**HOOK, **PUBLIC})
    off = served.post("/v1/webhooks/erp/state", {"active": False, "reason": "moved"})
    assert (off.status_code, off.json()) == (200, {"webhook_id": "erp", "active": False})
    now = served.get("/v1/webhooks/erp").json()["now"]
    assert (now["active"], now["reason"]) == (False, "moved")
    assert served.post("/v1/webhooks/erp/state", {"active": False}).status_code == 422
