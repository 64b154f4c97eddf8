"""Two entities with everything there is of each, for tests of who may see and do what."""

from datetime import UTC, datetime, timedelta
from typing import Any

from ledger import clock
from ledger.flows.billing.dun import run_dunning
from ledger.flows.settle import settle
from ledger.store.queries import Connection
from tests.api.served import AUTHOR, SOURCE, Served, attempt
from tests.support.statements import IBAN, statement
from tests.support.statements import entry as booked

FROM = {"valid_from": "2023-01-01T00:00:00Z"}
# Hardware serves for an hour, so that settling it is soon done.
HOUR = {"valid_from": "2023-11-16T18:00:00Z", "valid_to": "2023-11-16T19:00:00Z"}
_WEIGHTS = {
    **{"weight_set_id": "measured", "version": 2, "uncached": 1, "cache_read": 0},
    **{"cache_write": 1, "output": 5},
}
PERIOD = {"since": "2023-11-01T00:00:00Z", "until": "2023-12-01T00:00:00Z"}
NOW = datetime(2023, 12, 2, tzinfo=UTC)
NIGHT = {"start": "2023-11-01T00:00:00Z", "resolution_minutes": 60}
# Nothing that one of them has may be seen or named by the other.
OWN, FOREIGN = ("mill", "gamma"), ("forge", "delta")


def entered(entity: str, customer: str) -> list[tuple[str, dict[str, Any]]]:
    """Everything that is entered of an entity: a path and a body each."""
    site = {"facility_id": f"{entity}-site", "entity_id": entity, "name": f"{entity} site"}
    asset = {
        **{"asset_id": f"{entity}-asset", "entity_id": entity, "facility_id": f"{entity}-site"},
        **{"name": f"{entity} GPUs", "terms": "lease", "gpu_count": 8, "currency": "USD"},
        **{"gpu_hour_rate": "2", "all_in": True, **HOUR},
    }
    rent = {"facility_id": f"{entity}-site", "name": f"{entity} rent", "currency": "USD", **HOUR}
    price = {"meter": "input", "amount": "5", **FROM}
    card = {"rate_card_id": f"{entity}-card", "entity_id": entity, "name": f"{entity} prices"}
    return [
        ("entities", {"entity_id": entity, "name": entity, "currency": "USD", "zone": "UTC"}),
        ("customers", {"customer_id": customer, "entity_id": entity, "name": customer}),
        ("aliases", {"alias": f"{customer}-crm", "customer_id": customer, **FROM}),
        ("customers", {"customer_id": f"{customer}-lab", "entity_id": entity, "name": "Lab"}),
        ("parents", {"customer_id": f"{customer}-lab", "parent_id": customer, **FROM}),
        ("facilities", {**site, "zone": "UTC"}),
        ("pues", {"facility_id": f"{entity}-site", "pue": "1.2", **FROM}),
        ("energy-meters", {"meter": f"{entity}-host", "facility_id": f"{entity}-site", **FROM}),
        ("assets", asset),
        (
            "tariffs",
            {
                **{"tariff_id": f"{entity}-tariff", "facility_id": f"{entity}-site"},
                **{"name": f"{entity} power", "currency": "USD"},
            },
        ),
        (f"tariffs/{entity}-tariff/prices", {"prices": [NIGHT | {"price_per_mwh": "50"}]}),
        ("site-costs", rent | {"standing": {"amount": "1", "per": "hour"}}),
        (
            "grid-factors",
            {
                **{"facility_id": f"{entity}-site", "kind": "water", "source": "operator"},
                "factors": [NIGHT | {"per_kwh": "1080"}],
            },
        ),
        (
            "deployments",
            {
                **{"deployment_id": f"{entity}-dep", "asset_id": f"{entity}-asset", **HOUR},
                **{"model": f"{entity}-llm", "gpu_uuids": [f"GPU-{entity}"]},
                "engine_instances": [f"{entity}-engine"],
            },
        ),
        ("utility-bills", _billed(entity)),
        ("idle-policies", {"entity_id": entity, "method": "operator", **FROM}),
        ("weight-sets", {**_WEIGHTS, "deployment_id": f"{entity}-dep", **HOUR}),
        ("rate-cards", {**card, "currency": "USD", "prices": [price]}),
        (f"rate-cards/{entity}-card/prices", {"meter": "output", "amount": "15", **FROM}),
        (
            "subscriptions",
            {
                **{"subscription_id": f"{customer}-sub", "customer_id": customer},
                **{"rate_card_id": f"{entity}-card", **FROM},
            },
        ),
        ("budgets", budget(customer)),
        *_granted(entity, customer),
        *_taxed_and_paid(entity, customer),
    ]


def _billed(entity: str) -> dict[str, Any]:
    return {
        **{"bill_id": f"{entity}-bill", "facility_id": f"{entity}-site", "currency": "USD"},
        **{"first_day": "2023-11-16", "last_day": "2023-11-16", "kwh": "10", "amount": "5"},
    }


def _granted(entity: str, customer: str) -> list[tuple[str, dict[str, Any]]]:
    granted = {"entity_id": entity, "grant_id": f"{customer}-credit", "customer_id": customer}
    paid = {"granted_on": "2023-01-01", "currency": "USD", "amount": "5", "models": ["m"]}
    low = {"customer_id": customer, "currency": "USD", "low_balance": "9"}
    return [("grants", granted | paid), ("top-up-rules", low | FROM)]


def _taxed_and_paid(entity: str, customer: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        (
            "tax-registrations",
            {"entity_id": entity, "country": "US", "tax_number": f"{entity}-tax", **FROM},
        ),
        (
            "tax-treatments",
            {"customer_id": customer, "country": "US", "treatment": "outside", **FROM},
        ),
        ("dunning-policies", {"entity_id": entity, "reminder_days": [1], **FROM}),
        (
            "webhooks",
            {
                **{"webhook_id": f"{entity}-hook", "entity_id": entity},
                **{"url": f"https://{entity}.example.com/", "events": ["payment.received"]},
            },
        ),
        (
            "payments",
            {
                **{"entity_id": entity, "payment_id": f"{customer}-bank-1"},
                **{"customer_id": customer, "paid_on": "2023-12-01", "currency": "USD"},
                "amount": "1",
            },
        ),
    ]


def budget(customer: str) -> dict[str, Any]:
    """What a customer may ask for in a day."""
    named = {"budget_id": f"{customer}-budget", "customer_id": customer, "period": "day"}
    return named | {"unit": "requests", "amount": "2", "alert_percents": [1], **FROM}


def used(entity: str, customer: str) -> dict[str, Any]:
    """A usage event of an entity's customer on the entity's own engine."""
    return attempt(
        f"{customer}-event",
        customer_id=customer,
        served_model=f"{entity}-llm",
        agent={"id": f"{customer}-agent", "run_id": f"{customer}-run"},
        engine={"name": "vllm", "instance": f"{entity}-engine"},
    )


async def fill_two(served: Served, worker: Connection) -> None:
    """Enter both, send usage of both, settle, and issue an invoice of each."""
    for entity, customer in (OWN, FOREIGN):
        for path, body in entered(entity, customer):
            answer = served.post(f"/v1/{path}", body)
            assert answer.status_code == 201, answer.text
    for entity, _ in (OWN, FOREIGN):
        change = {"valid_from": "2023-01-01", "payment_account": IBAN}
        assert served.call("PATCH", f"/v1/entities/{entity}", json=change).status_code == 200
        taken = served.call(
            "POST",
            f"/v1/bank-statements?entity={entity}",
            content=statement(booked("1.00", f"of {entity}", ref="R1", payer=entity)),
        )
        assert taken.status_code == 201, taken.text
    sent = served.send(used(*OWN), used(*FOREIGN), role="admin")
    assert sent.json()["counts"]["counted"] == 2, sent.text
    await settle(worker, now=NOW)
    for _, customer in (OWN, FOREIGN):
        held = {"reservation_id": f"{customer}-reservation", "customer_id": customer}
        answer = served.post("/v1/reservations", held | {"output_tokens_max": 5})
        assert answer.status_code == 201, answer.text
        body = {"subscription_id": f"{customer}-sub", "at": "2023-11-16T00:00:00Z"}
        answer = served.post("/v1/invoices", body)
        assert answer.status_code == 201, answer.text
    for entity, _ in (OWN, FOREIGN):
        late = clock.now() + timedelta(days=60)
        written = await run_dunning(worker, entity_id=entity, now=late, author=AUTHOR)
        assert written.refused == []
    for invoice_id in (1, 2):
        disputed = served.post(f"/v1/invoices/{invoice_id}/disputes", {"reason": "not ours"})
        assert disputed.status_code == 201, disputed.text
    for entity, _ in (OWN, FOREIGN):
        months = served.get(f"/v1/entities/{entity}/months").json()
        ask = {"entity_id": entity, "month": months["next"], "state": "soft_closed"}
        assert served.post("/v1/closes", ask).status_code == 201


def make_keys(served: Served) -> None:
    """A key of every kind, beside those that are served already."""
    wanted = {
        "bound admin": {"role": "admin", "entity_id": OWN[0]},
        "bound finance": {"role": "finance", "entity_id": OWN[0]},
        "bound ingest": {"role": "ingest", "entity_id": OWN[0], "sources": [SOURCE]},
        "ingest of customers": {"role": "ingest", "sources": [SOURCE], "customers": [OWN[1]]},
        "customer": {"role": "customer", "customer_id": OWN[1]},
        "revoked": {"role": "admin"},
    }
    for name, body in wanted.items():
        answer = served.post("/v1/keys", body)
        assert answer.status_code == 201, answer.text
        served.keys[name] = answer.json()["key"]
    revoked = served.keys["revoked"].split("_")[1]
    assert served.post(f"/v1/keys/{revoked}/revocation", {}).status_code == 200
