"""Prices of electricity that leave a time without any are taken, and the time is named at once."""

from typing import Any

from ledger.store.queries import Connection
from tests.api.served import Served
from tests.flows.slow_facts import day
from tests.support.books import Books

PATH = "/v1/tariffs/power/prices"


def daily(*days: int) -> dict[str, Any]:
    return {"prices": [{"start": day(n), "end": day(n + 1), "price_per_mwh": "90"} for n in days]}


def hole(since: int, until: int) -> dict[str, str]:
    return {"since": utc(since), "until": utc(until)}


def utc(number: int) -> str:
    return day(number).replace("+00:00", ".000000Z")


async def test_a_hole_is_named_until_it_is_filled(served: Served, worker: Connection) -> None:
    await Books(worker).facility()
    tariff = {"tariff_id": "power", "facility_id": "site", "name": "Power", "currency": "EUR"}
    assert served.post("/v1/tariffs", tariff).status_code == 201
    assert served.post(PATH, daily(0, 1)).json() == {"added": 2, "holes": []}
    assert served.post(PATH, daily(4, 6)).json() == {"added": 2, "holes": [hole(2, 4), hole(5, 6)]}
    assert served.post(PATH, daily(9)).json() == {"added": 1, "holes": [hole(7, 9)]}
    assert served.post(PATH, daily(0)).json() == {"added": 0, "holes": []}
    assert served.post(PATH, daily(2)).json() == {"added": 1, "holes": [hole(3, 4)]}
    assert served.post(PATH, daily(3, 5)).json() == {"added": 2, "holes": []}
    assert served.post(PATH, daily(7, 8)).json()["holes"] == []
