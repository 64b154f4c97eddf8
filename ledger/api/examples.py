"""A body of each kind that the OpenAPI document shows; a test sends them all, in this order."""

from collections.abc import Mapping
from typing import Any

from ledger.wire import (
    ask_inputs,
    bill_inputs,
    budget_inputs,
    changes,
    close_inputs,
    credit_inputs,
    dunning_inputs,
    events,
    factory_inputs,
    grid_inputs,
    idle_inputs,
    inputs,
    party_inputs,
    price_inputs,
    receivable_inputs,
    site_inputs,
    tariff_inputs,
    tax_inputs,
    webhook_inputs,
    weight_inputs,
)

SINCE = "2024-01-01T00:00:00Z"
_SITE = {"entity_id": "acme-ai", "facility_id": "dub-1"}

EXAMPLES: Mapping[type, Mapping[str, Any]] = {
    party_inputs.NewEntity: {
        **{"entity_id": "acme-ai", "name": "Acme AI", "currency": "EUR", "zone": "Europe/Dublin"},
        **{"address": "1 Foundry Lane\nDublin D02", "tax_number": "IE 0000000A"},
    },
    party_inputs.NewCustomer: {"customer_id": "shop", "entity_id": "acme-ai", "name": "The Shop"},
    changes.EntityChange: {"valid_from": "2024-07-01", "address": "2 Foundry Lane\nDublin D02"},
    changes.CustomerChange: {"valid_from": "2024-07-01", "payment_days": 14},
    inputs.NewAlias: {"alias": "crm-7", "customer_id": "shop", "valid_from": SINCE},
    party_inputs.NewParent: {"customer_id": "shop-eu", "parent_id": "shop", "valid_from": SINCE},
    factory_inputs.NewFacility: {**_SITE, "name": "Dublin 1", "zone": "Europe/Dublin"},
    factory_inputs.NewPue: {"facility_id": "dub-1", "pue": "1.2", "valid_from": SINCE},
    factory_inputs.NewEnergyMeter: {
        **{"meter": "rack-1-host", "facility_id": "dub-1", "measures": "host"},
        **{"gpu_uuids": ["GPU-2b1f"], "gain": "1.02", "valid_from": SINCE},
    },
    factory_inputs.NewAsset: {
        **_SITE,
        **{"asset_id": "rack-1", "name": "Rack 1", "terms": "lease", "gpu_count": 8},
        **{"currency": "EUR", "gpu_hour_rate": "2.10", "gpu_type": "H200", "valid_from": SINCE},
    },
    tariff_inputs.NewTariff: {
        **{"tariff_id": "spot", "facility_id": "dub-1", "name": "Day ahead", "currency": "EUR"}
    },
    tariff_inputs.NewTariffPrices: {
        "prices": [{"start": SINCE, "resolution_minutes": 60, "price_per_mwh": "81.40"}]
    },
    site_inputs.NewSiteCost: {
        **{"facility_id": "dub-1", "name": "demand", "currency": "EUR", "valid_from": SINCE},
        "demand": {"rates": [[{"price": "12.50", "up_to": "100"}, {"price": "9.75"}]]},
    },
    bill_inputs.NewUtilityBill: {
        **{"bill_id": "esb-2024-01", "facility_id": "dub-1", "currency": "EUR", "kwh": "41250"},
        **{"first_day": "2024-01-01", "last_day": "2024-01-31", "amount": "3712.50"},
        **{"tax": "853.88", "reference": "ESB 4711"},
    },
    grid_inputs.NewGridFactors: {
        **{"facility_id": "dub-1", "kind": "carbon_location", "source": "Electricity Maps"},
        "factors": [{"start": SINCE, "resolution_minutes": 60, "per_kwh": "318.54"}],
    },
    factory_inputs.NewDeployment: {
        **{"deployment_id": "chat", "asset_id": "rack-1", "model": "llama-70b", "gpu_count": 4},
        "valid_from": SINCE,
    },
    weight_inputs.NewWeightSet: {
        **{
            "deployment_id": "chat",
            "weight_set_id": "chat-h100",
            "version": 2,
            "valid_from": SINCE,
        },
        **{"uncached": 60_000, "cache_read": 400, "cache_write": 60_000, "output": 359_600},
        **{"context": 20_000, "step": 27_430_000, "idle_mw_per_gpu": 110_000},
    },
    idle_inputs.NewIdlePolicy: {
        **{"entity_id": "acme-ai", "scope": "deployment:chat", "version": 1, "valid_from": SINCE},
        "method": "use",
    },
    price_inputs.NewRateCard: {
        **{"rate_card_id": "list", "entity_id": "acme-ai", "name": "List", "currency": "EUR"},
        "prices": [{"meter": "input", "kind": "per_unit", "amount": "5", "valid_from": SINCE}],
    },
    price_inputs.NewPrice: {
        **{"meter": "output", "kind": "per_unit", "amount": "15", "valid_from": SINCE},
    },
    inputs.NewSubscription: {
        **{"subscription_id": "shop-1", "customer_id": "shop", "rate_card_id": "list"},
        "valid_from": SINCE,
    },
    inputs.NewFxRates: {
        "rates": [
            {"base": "EUR", "quote": "USD", "day": "2024-01-02", "rate": "1.0956", "source": "ECB"}
        ]
    },
    tax_inputs.NewTaxRate: {"country": "IE", "percent": "23", "valid_from": SINCE},
    tax_inputs.NewTaxRegistration: {
        **{"entity_id": "acme-ai", "country": "IE", "tax_number": "IE6433435F"},
        "valid_from": SINCE,
    },
    tax_inputs.NewTaxTreatment: {
        **{"customer_id": "shop", "country": "IE", "treatment": "standard"},
        "valid_from": SINCE,
    },
    receivable_inputs.NewPayment: {
        **{"entity_id": "acme-ai", "payment_id": "bank-4711", "customer_id": "shop"},
        **{"paid_on": "2024-07-20", "currency": "EUR", "amount": "12.50"},
    },
    budget_inputs.NewBudget: {
        **{"budget_id": "shop-a-day", "customer_id": "shop", "period": "day", "unit": "money"},
        **{"amount": "25", "alert_percents": [80, 100], "valid_from": SINCE},
    },
    credit_inputs.NewGrant: {
        **{"entity_id": "acme-ai", "grant_id": "credit-2024", "customer_id": "shop"},
        **{"currency": "EUR", "amount": "500", "priority": 1, "models": ["llama-70b"]},
        **{"granted_on": "2024-06-01", "expires_on": "2025-06-01"},
    },
    credit_inputs.NewTopUpRule: {
        **{"customer_id": "shop", "currency": "EUR", "low_balance": "50"},
        **{"top_up_amount": "500", "valid_from": SINCE},
    },
    budget_inputs.NewReservation: {
        **{"reservation_id": "chatcmpl-8f1c.1", "customer_id": "shop", "model": "llama-70b"},
        **{"input_tokens_max": 2000, "output_tokens_max": 500, "expires_in_s": 120},
    },
    budget_inputs.ReservationRelease: {"customer_id": "shop"},
    dunning_inputs.NewDunningPolicy: {
        **{"entity_id": "acme-ai", "reminder_days": [7, 14, 30]},
        "valid_from": SINCE,
    },
    webhook_inputs.NewWebhook: {
        **{"webhook_id": "erp", "entity_id": "acme-ai", "events": ["payment.received"]},
        "url": "https://hooks.example.com/tokenledger",
    },
    webhook_inputs.WebhookSwitch: {"active": True, "reason": "the ERP is back"},
    ask_inputs.EndAsk: {
        **{"kind": "prices", "id": "list", "of": {"meter": "output"}},
        "valid_from": "2024-07-01T00:00:00Z",
    },
    inputs.NewApiKey: {"role": "ingest", "name": "gateway", "sources": ["/gateways/eu-1"]},
    events.UsageEvent: {
        **{"specversion": "1.0", "type": "inference.usage.v1", "source": "/gateways/eu-1"},
        **{"id": "chatcmpl-8f1c.1", "time": "2024-06-06T06:31:12.418Z"},
        "data": {
            **{"customer_id": "shop", "served_model": "llama-70b"},
            "usage": {"input": {"uncached": 1312}, "output": {"visible": 187}},
        },
    },
    receivable_inputs.CreditAsk: {
        "reason": "a slow afternoon",
        "lines": [{"line_no": 1, "amount": "0.01"}],
    },
    close_inputs.MonthAsk: {
        **{"entity_id": "acme-ai", "month": "2024-07", "state": "soft_closed"},
        "reason": "July is reviewed",
    },
    receivable_inputs.DisputeAsk: {"reason": "these tokens were a test of yours", "line_no": 1},
    receivable_inputs.DisputeResolution: {
        "outcome": "rejected",
        "reason": "the usage statement was sent, and nothing in it is ours",
    },
    ask_inputs.InvoiceAsk: {"subscription_id": "shop-1", "at": "2024-06-15T00:00:00Z"},
    ask_inputs.InvoiceRunAsk: {"entity_id": "factory", "at": "2024-06-15"},
}
