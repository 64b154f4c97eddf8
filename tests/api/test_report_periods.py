"""Reports that are asked for no period are of the present month, as on the command line."""

import asyncio
import json
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ledger import clock
from ledger.domain.period import month_of, window_start
from ledger.store.queries import Connection
from ledger.wire.rfc3339 import format_rfc3339
from tests.api.served import Served, attempt
from tests.cli.command_line import CommandLine
from tests.support.books import Books, Buyer, Tokens
from tests.support.database import Database


def without_cut_off(said: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if name != "cut_off_id"}


async def test_no_period_is_the_present_month_in_both(
    served: Served, worker: Connection, database: Database
) -> None:
    recent = window_start(clock.now() - timedelta(seconds=1))
    await Books(worker).usage(recent, Tokens(uncached=5), buyer=Buyer(agent_id="bot"))
    named = {"customer": "acme", "agent": "bot"}
    for report, options in (("agents", {}), ("agent", named), ("balances", {})):
        over_http = served.get(f"/v1/{report}", params={"entity": "factory", **options})
        assert over_http.status_code == 200, over_http.text
        flags = [part for name, value in options.items() for part in (f"--{name}", value)]
        asked = ("report", report, "--entity", "factory", *flags, "--json")
        result = await asyncio.to_thread(CommandLine(database), *asked)
        assert without_cut_off(over_http.json()) == without_cut_off(json.loads(result.stdout))


async def test_a_calibration_of_no_period_is_of_yesterday_in_both(
    served: Served, worker: Connection, database: Database
) -> None:
    now = window_start(clock.now())
    await Books(worker).deployment(now - timedelta(days=9), now + timedelta(days=9))
    over_http = served.get("/v1/calibrations", params={"entity": "factory"})
    assert over_http.status_code == 200, over_http.text
    asked = ("report", "calibration", "--entity", "factory", "--json")
    result = await asyncio.to_thread(CommandLine(database), *asked)
    assert without_cut_off(over_http.json()) == without_cut_off(json.loads(result.stdout))
    zone = ZoneInfo(served.get("/v1/entities/factory").json()["now"]["zone"])
    since, until = (
        datetime.fromisoformat(over_http.json()[name]).astimezone(zone)
        for name in ("since", "until")
    )
    assert (since.time(), until.time(), until.date()) == (
        time(),
        time(),
        now.astimezone(zone).date(),
    )
    assert until.date() - since.date() == timedelta(days=1)


async def test_usage_and_charges_of_no_period_are_of_the_present_month(served: Served) -> None:
    now = clock.now()
    assert served.send(attempt("now") | {"time": format_rfc3339(now)}).status_code == 200
    month = month_of(now, "UTC")
    named = {"since": format_rfc3339(month.start), "until": format_rfc3339(month.end)}
    for report in ("usage", "charges"):
        said = served.get(f"/v1/{report}", role="customer").json()
        # What the present hour comes to is charged once it is rated.
        assert said["items"] or report == "charges"
        asked = served.get(f"/v1/{report}", role="customer", params=named).json()
        assert without_cut_off(said) == without_cut_off(asked)


async def test_one_end_and_an_entity_that_is_none_are_refused(served: Served) -> None:
    half = served.get("/v1/agents", params={"entity": "factory", "since": "2023-11-01T00:00:00Z"})
    assert half.status_code == 422
    assert "mostly the present month" in half.text
    assert served.get("/v1/agents", params={"entity": "none"}).status_code == 404
    half = served.get("/v1/usage", params={"until": "2023-11-01T00:00:00Z"})
    assert half.status_code == 422
    assert half.json()["pointer"] == "since"


def test_a_period_that_no_books_hold_is_refused_by_every_report(served: Served) -> None:
    for report in ("usage", "charges", "margins", "engines", "balances"):
        for name, since, until in (
            ("since", "0001-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
            ("until", "2024-01-01T00:00:00Z", "9999-12-31T00:00:00Z"),
        ):
            asked = {"entity": "factory", "since": since, "until": until}
            said = served.get(f"/v1/{report}", params=asked)
            assert (said.status_code, said.json()["pointer"]) == (422, name)
            assert "outside 2000-01-01 to 2200-01-01" in said.json()["detail"]
