"""What a person could enter by a slip, or in malice, that no stage behind it could work with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DAY = "2024-01-01T00:00:00Z"
ENTITY = {"entity_id": "far", "name": "Far", "currency": "EUR", "zone": "UTC"}
PUE = {"facility_id": "site", "pue": "1.2", "valid_from": DAY}
LEASED = {
    **{"asset_id": "far", "entity_id": "factory", "facility_id": "site", "name": "Far"},
    **{"terms": "lease", "gpu_count": 8, "currency": "EUR", "gpu_hour_rate": "2"},
    "valid_from": DAY,
}
OWNED = {
    **{name: value for name, value in LEASED.items() if name != "gpu_hour_rate"},
    **{"terms": "owned", "purchase_price": "300000", "residual_value": "0", "life_months": 60},
    "in_service": DAY,
}
DEPLOYMENT = {"deployment_id": "far", "asset_id": "far", "model": "m", "gpu_count": 2}
PRICE = {"rate_card_id": "card-acme", "meter": "input", "amount": "5", "valid_from": DAY}
SUBSCRIPTION = {"subscription_id": "far", "customer_id": "acme", "rate_card_id": "card-acme"}
ALIAS = {"alias": "far", "customer_id": "acme", "valid_from": DAY}
FX = {"base": "EUR", "quote": "USD", "day": "2024-01-01", "rate": "1.1", "source": "x"}
FIRST, LAST = "0001-01-01T00:00:00Z", "9999-12-31T23:45:00Z"


@dataclass(frozen=True, slots=True)
class FarInput:
    """A row of one kind of the command line with one field too far, and that field."""

    kind: str
    row: Mapping[str, Any]
    field: str

    def __str__(self) -> str:
        return f"{self.kind}.{self.field}={str(self.row[self.field])[:12]}"


def _far(kind: str, base: Mapping[str, Any], field: str, *values: Any) -> list[FarInput]:
    return [FarInput(kind, {**base, field: value}, field) for value in values]


HUGE = ("1" + "0" * 58, "1e64", "1" + "0" * 16)
TIMES = (FIRST, LAST, "1999-12-31T23:45:00Z", "2200-01-01T00:15:00Z", "0001-01-01T00:00:00+14:00")
FAR_INPUTS = (
    *_far("entities", ENTITY, "payment_days", 2**31 - 1, 2**70),
    *_far("pue", PUE, "pue", "1e30", "100.5", "1e64"),
    *_far("pue", PUE, "valid_from", *TIMES),
    *_far("pue", PUE, "valid_to", LAST),
    *_far("assets", LEASED, "gpu_hour_rate", *HUGE),
    *_far("assets", LEASED, "gpu_count", 2**31 - 1, 1_000_001),
    *_far("assets", LEASED, "valid_from", *TIMES),
    *_far("assets", OWNED, "purchase_price", *HUGE),
    *_far("assets", OWNED, "in_service", *TIMES),
    *_far("assets", OWNED, "life_months", 2**31 - 1, 1_201),
    *_far("deployments", {**DEPLOYMENT, "valid_from": DAY}, "gpu_count", 2**31 - 1),
    *_far("deployments", DEPLOYMENT, "valid_from", *TIMES),
    *_far("rate-card", PRICE, "amount", *HUGE),
    *_far("rate-card", PRICE, "valid_from", *TIMES),
    *_far("rate-card", PRICE, "valid_to", LAST),
    *_far("subscriptions", SUBSCRIPTION, "valid_from", *TIMES),
    *_far("aliases", ALIAS, "valid_from", *TIMES),
    *_far("fx", FX, "rate", "1e10", "1" + "0" * 58, "1e-13"),
    *_far("fx", FX, "day", "0001-01-01", "9999-12-31", "1999-12-31"),
)
PERIOD = {"start": DAY, "end": "2024-01-01T01:00:00Z", "price_per_mwh": "1"}
BY_KWH = {"start": DAY, "end": "2024-01-01T01:00:00Z"}
# Prices of a tariff come in lists of their own, and in files of any form.
FAR_PERIODS = (
    *_far("tariff", PERIOD, "start", FIRST, "1999-12-31T23:45:00Z"),
    *_far("tariff", PERIOD, "end", LAST),
    *_far("tariff", PERIOD, "price_per_mwh", *HUGE, "-1e16"),
    *_far("tariff", BY_KWH, "price_per_kwh", "1e13"),
)
