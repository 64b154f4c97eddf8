"""Terms that cannot be meant are refused at each door: over HTTP, by JSON file and by CSV file."""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.api.served import Served
from tests.cli.command_line import CommandLine
from tests.support.database import Database

SINCE = "2026-01-01T00:00:00Z"
CARD = "/v1/rate-cards/card-acme/prices"
PRICE: dict[str, Any] = {"rate_card_id": "card-acme", "valid_from": SINCE}
RACK = {
    **{"asset_id": "rack", "entity_id": "factory", "facility_id": "site", "name": "Rack"},
    **{"terms": "lease", "gpu_count": 8, "currency": "USD", "gpu_hour_rate": "2"},
    "valid_from": SINCE,
}
OWNED = {
    **RACK,
    **{"asset_id": "own", "terms": "owned", "purchase_price": "9", "residual_value": "0"},
    **{"in_service": SINCE, "gpu_hour_rate": None},
}
CHAT = {
    **{"deployment_id": "chat", "asset_id": "rack", "model": "llama", "gpu_count": 8},
    "valid_from": SINCE,
}
COST = {"facility_id": "site", "name": "grid", "currency": "USD", "valid_from": SINCE}
GRANT = {
    **{"entity_id": "factory", "grant_id": "g", "customer_id": "acme", "currency": "USD"},
    **{"amount": "5", "granted_on": "2026-01-01"},
}


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is sent where, a word for the file, and what is said; `of_objects` fits into no CSV."""

    name: str
    path: str
    word: str
    body: dict[str, Any]
    told: str
    of_objects: bool = field(default=False, kw_only=True)


def price(name: str, told: str, /, **said: Any) -> Wrong:
    return Wrong(name, CARD, "rate-card", PRICE | said, told)


def tiers(name: str, told: str, *said: dict[str, Any]) -> Wrong:
    terms = {"meter": "output", "model": "m", "kind": "graduated", "tiers": list(said)}
    return price(name, told, **terms)


def resource(name: str, told: str, path: str, body: dict[str, Any], **more: bool) -> Wrong:
    return Wrong(name, f"/v1/{path}", path, body, told, **more)


def span(start: int, end: int | None = None) -> dict[str, Any]:
    known = {"start": start, "amount": "5"}
    return known if end is None else known | {"end": end}


WRONG = [
    tiers("tiers overlap", "overlaps the next", span(0, 9), span(5)),
    tiers("tiers gap", "nothing is said from 9 to 11", span(0, 9), span(11)),
    tiers("tiers not from zero", "starts at 5, not at 0", span(5)),
    price(
        "commitment without a period",
        "every: found nothing",
        meter="commitment",
        kind="commitment",
        amount="1",
    ),
    price("finer than 12 decimals", "fewer decimals", meter="input", model="m", amount="0.0000001"),
    price(
        *("discount over 100 %", "up to 100"),
        **{"meter": "discount", "kind": "percent_off", "name": "x", "percent": "101"},
    ),
    price("unit changed by a million", "over 1,000 times", meter="input", amount="5000000"),
    price("unit of a model", "of all models", meter="input", model="m", amount="5000000"),
    resource(
        *("card in no currency", "not a currency", "rate-cards"),
        {"rate_card_id": "odd", "entity_id": "factory", "name": "Odd", "currency": "XQX"},
    ),
    resource("grant in no currency", "not a currency", "grants", GRANT | {"currency": "XQX"}),
    resource(
        "grant in a foreign currency", "has no prices in JPY", "grants", GRANT | {"currency": "JPY"}
    ),
    resource("grant of nothing", "amount", "grants", GRANT | {"amount": "0"}),
    resource(
        *("subscriptions that overlap", "overlap", "subscriptions"),
        {"subscription_id": "two", "customer_id": "acme", "rate_card_id": "card-acme"}
        | {"valid_from": SINCE},
    ),
    resource(
        *("asset that ends before it begins", "valid_to", "assets"),
        RACK | {"asset_id": "other", "valid_to": "2025-01-01T00:00:00Z"},
    ),
    resource("two terms of an asset at once", "rack", "assets", RACK | {"gpu_hour_rate": "3"}),
    resource("life of zero", "life_months", "assets", OWNED | {"life_months": 0}),
    resource("chunk of nothing", "prefill_chunk", "deployments", CHAT | {"prefill_chunk": 0}),
    resource(
        *("weights of zero", "a weight above 0", "weight-sets"),
        {"deployment_id": "chat", "weight_set_id": "none", "version": 2, "valid_from": SINCE}
        | dict.fromkeys(("uncached", "cache_read", "cache_write", "output"), 0),
    ),
    resource("share of GPUs above 1", "gpu_share", "deployments", CHAT | {"gpu_share": "1.5"}),
    resource(
        *("share of a cost above 1", "share", "site-costs"),
        COST | {"standing": {"amount": "1", "per": "month", "share": "1.5"}},
        of_objects=True,
    ),
    resource(
        *("demand charge without a month", "at least 12 items", "site-costs"),
        COST
        | {
            "demand": {
                **{"rates": [[{"price": "1"}]], "weekday": [[0] * 24] * 11},
                "weekend": [[0] * 24] * 12,
            }
        },
        of_objects=True,
    ),
    resource(
        *("policy for a tier that is not", "gold", "idle-policies"),
        {"entity_id": "factory", "scope": "deployment:chat", "method": "reserved_tier"}
        | {"reserved": {"gold": "0.5"}, "valid_from": SINCE},
        of_objects=True,
    ),
    resource(
        *("reserved shares above 1", "come to 1 at most", "idle-policies"),
        {"entity_id": "factory", "scope": "deployment:chat", "method": "reserved_tier"}
        | {"reserved": {"standard": "0.8", "batch": "0.5"}, "valid_from": SINCE},
        of_objects=True,
    ),
    Wrong(
        "pue below 1",
        "/v1/pues",
        "pue",
        {"facility_id": "site", "pue": "0.9", "valid_from": SINCE},
        "pue",
    ),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
async def test_what_cannot_be_meant_is_refused_by_name(
    served: Served, database: Database, tmp_path: Path, wrong: Wrong
) -> None:
    site = {"facility_id": "site", "entity_id": "factory", "name": "Site", "zone": "UTC"}
    for path, body in (("facilities", site), ("assets", RACK), ("deployments", CHAT)):
        assert served.post(f"/v1/{path}", body).status_code == 201
    answer = served.post(wrong.path, wrong.body)
    assert answer.status_code in {409, 422}, answer.text
    assert wrong.told in answer.text
    command = CommandLine(database)
    files = {"json": json.dumps(wrong.body)} | (
        {} if wrong.of_objects else {"csv": csv_of(wrong.body)}
    )
    for kind, text in files.items():
        file = tmp_path / f"in.{kind}"
        file.write_text(text)
        refused = await asyncio.to_thread(command.refusal, "import", wrong.word, file)
        assert wrong.told in refused, kind


@pytest.mark.parametrize(
    ("asked", "told", "status"),
    [
        ({"output_tokens_max": 0}, "one of them above 0", 422),
        ({"output_tokens_max": 9}, "needs 9", 402),
    ],
    ids=["of nothing", "of more than there is"],
)
async def test_a_reservation_that_cannot_be_is_refused_by_name(
    served: Served,
    database: Database,
    tmp_path: Path,
    asked: dict[str, Any],
    told: str,
    status: int,
) -> None:
    budget = {"budget_id": "b", "customer_id": "acme", "period": "ever", "unit": "tokens"}
    entered = served.post("/v1/budgets", budget | {"amount": "5", "valid_from": SINCE})
    assert entered.status_code == 201
    body = {"reservation_id": "r", "customer_id": "acme", "model": "llama", **asked}
    answer = served.post("/v1/reservations", body)
    assert (answer.status_code, told in answer.text) == (status, True), answer.text
    for kind, text in (("json", json.dumps(body)), ("csv", csv_of(body))):
        file = tmp_path / f"in.{kind}"
        file.write_text(text)
        assert told in await asyncio.to_thread(
            CommandLine(database).refusal, "reserve", "hold", file
        )


def csv_of(body: dict[str, Any]) -> str:
    cells = {name: cell(value) for name, value in body.items() if value is not None}
    return f"{','.join(cells)}\n{','.join(cells.values())}\n"


def cell(value: Any) -> str:
    if isinstance(value, list):
        return ";".join(f"{t['start']}-{t.get('end', '')}:{t['amount']}" for t in value)
    return str(value)
