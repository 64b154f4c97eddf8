"""What only use shows to be wrong is stopped or named alike at each door: over HTTP, on the command
line, and in a file."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.api.served import Served, attempt
from tests.api.test_bad_terms import CHAT, GRANT, RACK, SINCE, csv_of
from tests.cli.command_line import CommandLine
from tests.support.database import Database

HOLE = "from 2026-03-02T10:15Z to 2026-03-02T10:30Z"
PRICES = [
    {"start": "2026-03-02T10:00:00Z", "end": "2026-03-02T10:15:00Z", "price_per_mwh": "80"},
    {"start": "2026-03-02T10:30:00Z", "end": "2026-03-02T11:00:00Z", "price_per_mwh": "90"},
]
# What runs on to this day has more to allocate with each day of ours.
THAT_DAY = {"valid_from": "2026-03-02T00:00:00Z", "valid_to": "2026-03-03T00:00:00Z"}
SITE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("facilities", {"facility_id": "site", "entity_id": "factory", "name": "S", "zone": "UTC"}),
    ("pues", {"facility_id": "site", "pue": "1.2", "valid_from": SINCE}),
    ("assets", RACK | THAT_DAY),
    ("deployments", CHAT | THAT_DAY),
    ("tariffs", {"tariff_id": "day", "facility_id": "site", "name": "D", "currency": "USD"}),
)


def enter_prices(served: Served, command: CommandLine, folder: Path, door: str) -> str:
    """Prices with a hole through a door, and what it says at once."""
    if door == "api":
        answer = served.post("/v1/tariffs/day/prices", {"prices": PRICES})
        assert answer.status_code == 201, answer.text
        return ""
    file = folder / f"prices.{door}"
    rows = ["start,end,price_per_mwh", *(",".join(each.values()) for each in PRICES)]
    file.write_text(json.dumps(PRICES) if door == "json" else "\n".join(rows))
    columns = ("--time-column", "start", "--end-column", "end", "--price-column", "price_per_mwh")
    return command("import", "tariff", file, "--tariff", "day", *columns).stderr


@pytest.mark.parametrize("door", ["api", "json", "csv"])
async def test_a_hole_in_a_tariff_is_named_by_who_asks_what_things_cost(
    served: Served, database: Database, tmp_path: Path, door: str
) -> None:
    for path, body in SITE:
        assert served.post(f"/v1/{path}", body).status_code == 201
    command = CommandLine(database)
    said = await asyncio.to_thread(enter_prices, served, command, tmp_path, door)
    assert (HOLE in said) == (door != "api")
    await asyncio.to_thread(command, "allocate")
    since, until = "2026-03-02T10:00:00Z", "2026-03-02T11:00:00Z"
    asked = {"entity": "factory", "since": since, "until": until}
    answer = served.get("/v1/margins", params=asked)
    told = await asyncio.to_thread(command, "report", "margin", "--from", since, "--to", until)
    for text in (answer.text, told.stderr):
        assert f"tariff in USD of facility site {HOLE}" in text


async def test_a_run_that_does_not_end_is_stopped_and_told(
    served: Served, database: Database, tmp_path: Path
) -> None:
    budget = {"budget_id": "runs", "customer_id": "acme", "agent_id": "helper", "period": "run"}
    budget |= {"unit": "tokens", "amount": "1000000", "times_own_mean": "3", "valid_from": SINCE}
    assert served.post("/v1/budgets", budget).status_code == 201
    runs = [
        attempt(f"e{n}", agent={"id": "helper", "run_id": f"run-{n}"}) | {"time": SINCE}
        for n in range(5)
    ]
    assert served.send(*runs).status_code in {200, 202}
    body: dict[str, Any] = {"customer_id": "acme", "agent_id": "helper", "agent_run_id": "endless"}
    body |= {"reservation_id": "r", "model": "llama", "output_tokens_max": 3_301}
    answer = served.post("/v1/reservations", body)
    told = "of whose 3300, which is what it may use by its own history, 0 are used"
    assert (answer.status_code, told in answer.text) == (402, True), answer.text
    command = CommandLine(database)
    for kind, text in (("json", json.dumps(body)), ("csv", csv_of(body))):
        file = tmp_path / f"in.{kind}"
        file.write_text(text)
        assert told in await asyncio.to_thread(command.refusal, "reserve", "hold", file)
    (alert,) = served.get("/v1/budget-alerts").json()["items"]
    assert (alert["kind"], alert["agent_run_id"]) == ("runaway", "endless")
    (listed,) = await asyncio.to_thread(command.items, "list", "budget-alerts")
    assert listed == alert


async def test_a_grant_that_comes_twice_at_once_is_there_once(
    served: Served, database: Database, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: served.post("/v1/grants", GRANT), range(8)))
    assert {answer.status_code for answer in answers} == {201}
    command = CommandLine(database)
    file = tmp_path / "grant.json"
    file.write_text(json.dumps(GRANT))
    await asyncio.to_thread(command, "import", "grants", file)
    (grant,) = served.get("/v1/grants").json()["items"]
    assert grant["amount"] == "5"
    other = GRANT | {"amount": "6"}
    answer = served.post("/v1/grants", other)
    for kind, text in (("json", json.dumps(other)), ("csv", csv_of(other))):
        file = tmp_path / f"other.{kind}"
        file.write_text(text)
        told = await asyncio.to_thread(command.refusal, "import", "grants", file)
        assert "The grant g is already recorded with amount 5" in told
    assert (answer.status_code, "The grant g is already recorded with amount 5" in answer.text) == (
        409,
        True,
    ), answer.text
