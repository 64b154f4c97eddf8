"""Bodies by which a key that is bound to one entity reaches for what is another's."""

from typing import Any

from tests.api.full_books import entry_id
from tests.api.two_entities import FROM

# What is of one's own and reaches for another's all the same.
REACHING: dict[str, list[dict[str, Any]]] = {
    "POST /v1/customers": [{"customer_id": "delta", "entity_id": "mill", "name": "Mine now"}],
    "POST /v1/aliases": [
        {"alias": "delta-crm", "customer_id": "gamma", **FROM},
        {"alias": "gamma-erp", "customer_id": "delta", **FROM},
    ],
    "POST /v1/facilities": [
        {"facility_id": "forge-site", "entity_id": "mill", "name": "Mine now", "zone": "UTC"}
    ],
    "POST /v1/tax-treatments": [
        {"customer_id": "delta", "country": "US", "treatment": "zero", **FROM}
    ],
    "POST /v1/tax-registrations": [
        {"entity_id": "forge", "country": "CA", "tax_number": "1", **FROM}
    ],
    "POST /v1/payments": [
        {
            **{"entity_id": "mill", "payment_id": "gamma-bank-9", "customer_id": "delta"},
            **{"paid_on": "2023-12-01", "currency": "USD", "amount": "1"},
        }
    ],
    f"POST /v1/bank-entries/{entry_id('mill')}/match": [{"customer_id": "delta"}],
    f"POST /v1/bank-entries/{entry_id('forge')}/dismiss": [{"reason": "for a test"}],
    "POST /v1/webhooks": [
        {
            **{"webhook_id": f"{customer}-hook", "entity_id": entity, "customer_id": customer},
            **{"url": "https://example.com/", "events": ["payment.received"]},
        }
        for entity, customer in (("mill", "delta"), ("forge", "gamma"))
    ],
    "POST /v1/entities/forge/logo": [{}],
    "POST /v1/dunning-policies": [{"entity_id": "forge", "reminder_days": [9], **FROM}],
    "POST /v1/grants": [
        {
            **{"entity_id": entity, "grant_id": "gamma-credit-9", "customer_id": "delta"},
            **{"granted_on": "2023-12-01", "currency": "USD", "amount": "1"},
        }
        for entity in ("mill", "forge")
    ],
    "POST /v1/top-up-rules": [
        {"customer_id": "delta", "currency": "USD", "low_balance": "1", **FROM}
    ],
    "POST /v1/budgets": [
        {
            **{"budget_id": f"{owner}-budget", "customer_id": customer, "period": "day"},
            **{"unit": "requests", "amount": "9", **FROM},
        }
        for owner, customer in (("gamma", "delta"), ("delta", "gamma"))
    ],
    "POST /v1/tariffs": [
        {"tariff_id": "new", "facility_id": "forge-site", "name": "T", "currency": "USD"}
    ],
    "POST /v1/rate-cards": [
        {"rate_card_id": "forge-card", "entity_id": "mill", "name": "P", "currency": "USD"}
    ],
    "POST /v1/subscriptions": [
        {
            "subscription_id": "gamma-sub",
            "customer_id": "gamma",
            "rate_card_id": "forge-card",
            **FROM,
        },
        {
            "subscription_id": "delta-sub",
            "customer_id": "gamma",
            "rate_card_id": "mill-card",
            **FROM,
        },
    ],
}
