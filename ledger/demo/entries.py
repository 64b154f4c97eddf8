"""The slow facts of both factories, as people would enter them."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from ledger.demo import own_fleet, published_day
from ledger.wire.factory_inputs import NewAsset, NewDeployment, NewFacility, NewPue
from ledger.wire.grid_inputs import NewGridFactors
from ledger.wire.inputs import InputModel, NewSubscription
from ledger.wire.party_inputs import NewCustomer, NewEntity
from ledger.wire.price_inputs import NewRateCard
from ledger.wire.tariff_inputs import NewTariff, NewTariffPrices
from ledger.wire.tax_inputs import NewTaxRate, NewTaxRegistration, NewTaxTreatment

Entry = tuple[type[InputModel], dict[str, Any]]
# Nobody's number: its check digits alone are right.
_OWN_NUMBER = "DK10000009"
OWN_PRICES = {
    "real-time": ("1.50", "0.15", "6.00"),
    "standard": ("0.90", "0.09", "3.60"),
    "batch": ("0.45", "0.045", "1.80"),
}
_DENMARK = {"country": "DK", "valid_from": "2024-01-01T00:00:00Z"}
OWN_NAMES = {
    "fjord-bank": ("Fjord Bank A/S", "organization"),
    "nordic-news": ("Nordic News Ærø ApS", "organization"),
    "havn-logistics": ("Havn Logistics", "organization"),
    "triage-agent": ("Ticket triage agent", "ai_agent"),
    "research-agent": ("Research agent", "ai_agent"),
}


def entries() -> Iterator[Entry]:
    """Everything to enter, in an order in which each finds what it refers to."""
    yield from _published_day()
    yield from _own_fleet()


def _published_day() -> Iterator[Entry]:
    day = published_day
    yield (
        NewEntity,
        {
            "entity_id": day.ENTITY,
            "name": "A published day (DeepSeek V3/R1)",
            "currency": "USD",
            "zone": "Asia/Shanghai",
            "invoice_prefix": "PD",
        },
    )
    yield (
        NewFacility,
        _facility("pd-site", day.ENTITY, "Site of the published day", "Asia/Shanghai"),
    )
    for start, end, nodes in day.node_periods():
        yield NewAsset, _leased_nodes(start, end, nodes)
        yield NewDeployment, _served_nodes(start, end, nodes)
    prices = [
        {"meter": meter, "amount": amount, "valid_from": _text(day.START)}
        for meter, amount in day.PRICES_USD_PER_MILLION.items()
    ]
    yield (
        NewRateCard,
        _card("pd-list", day.ENTITY, "Published prices, every tier", "USD", prices),
    )
    for buyer in day.BUYERS:
        yield NewCustomer, _customer(buyer.customer_id, day.ENTITY, buyer.name, buyer.kind)
        yield NewSubscription, _subscription(buyer.customer_id, "pd-list", "2025-01-31T16:00:00Z")


def _own_fleet() -> Iterator[Entry]:
    fleet = own_fleet
    dated = {"valid_from": _text(fleet.START), "valid_to": _text(fleet.END)}
    yield (
        NewEntity,
        {
            "entity_id": fleet.ENTITY,
            "name": "Nordlys Compute ApS",
            "address": "Energivej 7\n7000 Fredericia\nDanmark",
            "tax_number": _OWN_NUMBER,
            "currency": "EUR",
            "zone": "Europe/Copenhagen",
            "invoice_prefix": "OWN",
        },
    )
    yield NewFacility, _facility("dk1", fleet.ENTITY, "Fredericia, zone DK1", "Europe/Copenhagen")
    yield NewPue, {"facility_id": "dk1", "pue": "1.18", "host_mw_per_gpu": 140_000, **dated}
    yield (
        NewTariff,
        {"tariff_id": "dk1-spot", "facility_id": "dk1", "name": "DK1 spot", "currency": "EUR"},
    )
    yield NewTariffPrices, {"tariff_id": "dk1-spot", "prices": list(_spot())}
    yield from _grid()
    yield NewAsset, _owned_node(dated)
    for (model, instance), name in ((fleet.CHAT, "chat"), (fleet.BATCH, "batch")):
        gpus = [fleet.GPUS[number] for number in fleet.GPUS_OF[instance]]
        yield (
            NewDeployment,
            {
                "deployment_id": name,
                "asset_id": "node-a",
                "model": model,
                "gpu_uuids": gpus,
                "engine_instances": [instance],
                **dated,
            },
        )
    yield NewRateCard, _card("own-list", fleet.ENTITY, "Own fleet 2024", "EUR", list(_own_prices()))
    yield from _danish_tax()
    for customer_id, (name, kind) in OWN_NAMES.items():
        yield NewCustomer, _customer(customer_id, fleet.ENTITY, name, kind)
        yield NewTaxTreatment, {**_DENMARK, "customer_id": customer_id, "treatment": "standard"}
        yield NewSubscription, _subscription(customer_id, "own-list", "2024-09-30T22:00:00Z")


def _danish_tax() -> Iterator[Entry]:
    registered = {"entity_id": own_fleet.ENTITY, "tax_number": _OWN_NUMBER}
    yield NewTaxRegistration, {**_DENMARK, **registered}
    yield NewTaxRate, {**_DENMARK, "percent": "25"}


def _leased_nodes(start: datetime, end: datetime, nodes: int) -> dict[str, Any]:
    return {
        "asset_id": "pd-nodes",
        "entity_id": published_day.ENTITY,
        "facility_id": "pd-site",
        "name": "H800 nodes in service",
        "terms": "lease",
        "gpu_count": nodes * published_day.GPUS_PER_NODE,
        "currency": "USD",
        "gpu_hour_rate": published_day.GPU_HOUR_USD,
        "gpu_type": "H800",
        "all_in": True,
        "valid_from": _text(start),
        "valid_to": _text(end),
    }


def _served_nodes(start: datetime, end: datetime, nodes: int) -> dict[str, Any]:
    return {
        "deployment_id": "pd-service",
        "asset_id": "pd-nodes",
        "model": published_day.MODEL,
        "gpu_count": nodes * published_day.GPUS_PER_NODE,
        "valid_from": _text(start),
        "valid_to": _text(end),
    }


def _owned_node(dated: dict[str, str]) -> dict[str, Any]:
    return {
        "asset_id": "node-a",
        "entity_id": own_fleet.ENTITY,
        "facility_id": "dk1",
        "name": "Node A, four owned GPUs",
        "terms": "owned",
        "gpu_count": len(own_fleet.GPUS),
        "gpu_type": own_fleet.GPU_TYPE,
        "currency": "EUR",
        "purchase_price": "124000",
        "residual_value": "12000",
        "in_service": "2023-12-31T23:00:00Z",
        "life_months": 48,
        **dated,
    }


def _spot() -> Iterator[dict[str, Any]]:
    for hour, price in enumerate(own_fleet.SPOT_EUR_PER_MWH):
        start = own_fleet.START + timedelta(hours=hour)
        yield {"start": _text(start), "resolution_minutes": 60, "price_per_mwh": price}


def _grid() -> Iterator[Entry]:
    for kind, hourly in own_fleet.GRID_PER_KWH.items():
        factors = [
            {"start": _text(start), "resolution_minutes": 60, "per_kwh": factor}
            for hour, factor in enumerate(hourly)
            for start in [own_fleet.START + timedelta(hours=hour)]
        ]
        said = {"facility_id": "dk1", "kind": kind, "source": "made up for the demo"}
        yield NewGridFactors, {**said, "factors": factors}


def _own_prices() -> Iterator[dict[str, Any]]:
    meters = ("input_uncached", "input_cache_read", "output_visible")
    for tier, amounts in OWN_PRICES.items():
        for meter, amount in zip(meters, amounts, strict=True):
            yield {
                "meter": meter,
                "tier": tier,
                "amount": amount,
                "valid_from": _text(own_fleet.START),
            }


def _facility(facility_id: str, entity_id: str, name: str, zone: str) -> dict[str, Any]:
    return {"facility_id": facility_id, "entity_id": entity_id, "name": name, "zone": zone}


def _card(
    card_id: str, entity_id: str, name: str, currency: str, prices: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "rate_card_id": card_id,
        "entity_id": entity_id,
        "name": name,
        "currency": currency,
        "prices": prices,
    }


def _customer(customer_id: str, entity_id: str, name: str, kind: str) -> dict[str, Any]:
    return {"customer_id": customer_id, "entity_id": entity_id, "name": name, "kind": kind}


def _subscription(customer_id: str, card_id: str, valid_from: str) -> dict[str, Any]:
    return {
        "subscription_id": f"sub-{customer_id}",
        "customer_id": customer_id,
        "rate_card_id": card_id,
        "valid_from": valid_from,
    }


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
