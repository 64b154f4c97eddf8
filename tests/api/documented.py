"""The OpenAPI document as readers use it: operations, examples, paths with ids that exist."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from httpx import Response

from tests.api.full_books import entry_id, notice_id
from tests.api.held import DOCUMENT
from tests.api.served import Served

IDS = {
    **{"entities": "acme-ai", "customers": "shop", "aliases": "crm-7", "facilities": "dub-1"},
    **{
        "pues": "dub-1",
        "site-costs": "dub-1",
        "grid-factors": "dub-1",
        "utility-bills": "esb-2024-01",
        "energy-meters": "rack-1-host",
        "assets": "rack-1",
        "tariffs": "spot",
        "deployments": "chat",
        "weight-sets": "chat",
        "idle-policies": "acme-ai",
    },
    **{"rate-cards": "list", "subscriptions": "shop-1", "fx-rates": "EUR-USD"},
    **{
        "tax-rates": "IE",
        "tax-registrations": "acme-ai",
        "dunning-policies": "acme-ai",
        "tax-treatments": "shop",
    },
    **{"closes": "acme-ai", "payments": "bank-4711", "credit-notes": "ACME-AI-C-1"},
    **dict.fromkeys(("budgets", "budget-balances", "budget-alerts"), "shop-a-day"),
    "reservations": "chatcmpl-8f1c.1",
    **dict.fromkeys(("tax-registrations", "dunning-policies"), "acme-ai"),
    "webhooks": "erp",
    **dict.fromkeys(("dunning-letters", "disputes"), "1"),
    "bank-entries": entry_id("acme-ai"),
    **dict.fromkeys(("notices", "deliveries"), notice_id("acme-ai", "bank-4711")),
    "grants": "credit-2024",
    "agent-runs": "run-1",
    **dict.fromkeys(("top-up-rules", "credit-balances", "credit-events"), "shop"),
}
ASKED = {
    **{"entity": "acme-ai", "since": "2024-06-01T00:00:00Z", "until": "2024-07-01T00:00:00Z"},
    "limit": 5,
}


# What stands in paths for an id of the group.
NAMED = {"{key}", "{subscription_id}", "{webhook}", "{notice}", "{entry}"}


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the document."""

    path: str
    method: str
    said: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its id."""
        return str(self.said["operationId"])

    def asked(self) -> dict[str, Any]:
        """What it is asked: those of the usual questions that it knows."""
        known = {each["name"] for each in self.said["parameters"] if each["in"] == "query"}
        if self.path in {"/v1/fx-rates", "/v1/tax-rates"}:
            known.discard("entity")
        return {name: value for name, value in ASKED.items() if name in known}


OPERATIONS = [
    Operation(path, method, said)
    for path, methods in DOCUMENT["paths"].items()
    for method, said in methods.items()
]


def path_of(one: Operation) -> str:
    """Its path with the ids of the examples."""
    parts = one.path.strip("/").split("/")
    group = parts[1] if len(parts) > 1 else ""
    filled = ["1" if p.endswith(("_id}", "_no}")) else p for p in parts]
    filled = [IDS.get(group, "x") if p in NAMED else p for p in filled]
    return "/" + "/".join("invoices" if p == "{format_name}" else p for p in filled)


def send_examples(served: Served) -> Iterator[tuple[str, Response]]:
    """Every example of the document to its operation, the parties first."""
    written = [one for one in OPERATIONS if one.method in {"post", "patch"}]
    first = {"enter_entities": 0, "enter_customers": 1, "enter_rate_cards": 2, "enter_webhooks": 3}
    last = {"release_reservation": 7, "post_events": 8, "preview": 9, "issue": 10}
    last |= {"open_dispute": 11, "resolve_dispute": 12, "credit": 13}
    for one in sorted(written, key=lambda o: first.get(o.name, last.get(o.name, 5))):
        for media, content in one.said.get("requestBody", {}).get("content", {}).items():
            if "example" in content:
                if one.name == "enter_parents":
                    child = {"customer_id": "shop-eu", "entity_id": "acme-ai", "name": "Shop EU"}
                    assert served.post("/v1/customers", child).status_code == 201
                headers = {"Content-Type": media}
                given = {"json": content["example"], "headers": headers}
                yield one.name, served.call(one.method.upper(), path_of(one), **given)
