"""A utility rate as OpenEI publishes it becomes prices and costs of months, to the cent."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from ledger.store.connect import connect
from tests.cli.command_line import CommandLine
from tests.support.books import Books

CHICAGO = ZoneInfo("America/Chicago")
QUARTER = timedelta(minutes=15)
GPUS = ("GPU-a", "GPU-b")
# The month, its hours, and what it costs.
MONTHS = [(7, 744, "101012.00"), (11, 721, "84480.68")]
WHERE = ("--tariff", "pst", "--facility", "site")
LEASED = (
    "asset_id,entity_id,facility_id,name,terms,gpu_count,currency,gpu_hour_rate,valid_from\n"
    "rack,factory,site,Rack,lease,2,USD,0,2018-01-01T06:00:00Z\n"
)


def entergy(shared_data: Path) -> Path:
    return shared_data / "electricity" / "urdb_entergy_arkansas_pst_tou.json"


def enter_site(command: CommandLine, folder: Path) -> None:
    files = {
        "entities": "entity_id,name,currency,zone\nfactory,Factory,USD,America/Chicago\n",
        "facilities": "facility_id,entity_id,name,zone\nsite,factory,Site,America/Chicago\n",
    }
    for kind, text in files.items():
        path = folder / f"{kind}.csv"
        path.write_text(text)
        command("import", kind, path)


def stored(command: CommandLine, write: Callable[[Books], Awaitable[None]]) -> None:
    async def run() -> None:
        connection = await connect(command.database.worker_url)
        try:
            await write(Books(connection))
        finally:
            await connection.close()

    asyncio.run(run())


def month(number: int) -> tuple[datetime, datetime]:
    start, end = (
        datetime(2018, n, 1, tzinfo=CHICAGO).astimezone(UTC) for n in (number, number + 1)
    )
    return start, end


def two_megawatts(number: int) -> Callable[[Books], Awaitable[None]]:
    """Two boards of 1 kW with hosts of 9 kW beside them, at a site that uses a hundred times as
    much: 2,000 kW, for one month."""

    async def write(books: Books) -> None:
        since, until = month(number)
        await books.pue(since, until, pue="100", host_mw_per_gpu=9_000_000)
        await books.deployment(since, until, deployment_id=f"in-{number}", gpus=GPUS)
        quarters = range((until - since) // QUARTER + 1)
        for gpu in GPUS:
            rises = [(since + n * QUARTER, 10**6 + n * 900_000_000) for n in quarters]
            await books.readings(gpu, rises, epoch=f"{number}")

    return write


@pytest.mark.parametrize(("number", "hours", "expected"), MONTHS)
def test_a_constant_two_megawatts_costs_what_the_utility_charges(
    command: CommandLine,
    shared_data: Path,
    tmp_path: Path,
    number: int,
    hours: int,
    expected: str,
) -> None:
    enter_site(command, tmp_path)
    (tmp_path / "assets.csv").write_text(LEASED)
    command("import", "assets", tmp_path / "assets.csv")
    command("import", "urdb", entergy(shared_data), *WHERE)
    stored(command, two_megawatts(number))
    command("allocate")
    command("accrue")
    found = command.json("report", "sites", "--entity", "factory", "--month", f"2018-{number:02}")
    assert sum(Decimal(row["amount"]) for row in found["totals"]) == Decimal(expected)
    assert found["energy"][0]["peak_kw"] == "2000.000000"
    assert Decimal(found["energy"][0]["energy_kwh"]) == 2_000 * hours
    names = {row["name"] for row in found["totals"]}
    assert names == {"electricity", "demand", "fixed charge"}


def test_a_rate_in_tiers_is_read_with_all_of_them(
    command: CommandLine, shared_data: Path, tmp_path: Path
) -> None:
    enter_site(command, tmp_path)
    file = shared_data / "electricity" / "urdb_multi_tier.json"
    assert "Give --since and --until" in command.refusal("import", "urdb", file, *WHERE)
    period = ("--since", "2018-01-01", "--until", "2019-01-01")
    entered = command.json("import", "urdb", file, *WHERE, *period)
    costs = {row["name"]: row for row in command.items("list", "site-costs")}
    assert costs.keys() == {"energy tiers", "demand", "fixed charge"}
    assert costs["fixed charge"]["params"] == {"amount": "3.298", "per": "day", "share": "1"}
    assert costs["demand"]["params"]["rates"][1] == [
        {"price": "24.368", "up_to": "100.0"},
        {"price": "17.031"},
    ]
    assert entered["entered"] > 3
    again = command.json("import", "urdb", file, *WHERE, *period)
    assert again["entered"] == 3, "costs are the same rows, and no price is new"


def test_a_rate_that_charges_nothing_of_what_has_no_rule_is_read(
    command: CommandLine, shared_data: Path, tmp_path: Path
) -> None:
    enter_site(command, tmp_path)
    nothing = {"demandratchetpercentage": [0] * 12, "fueladjustmentsmonthly": [0.0] * 12}
    file = tmp_path / "rate.json"
    file.write_text(json.dumps(json.loads(entergy(shared_data).read_text()) | nothing))
    assert command.json("import", "urdb", file, *WHERE)["entered"] > 3


def test_a_rate_that_says_one_thing_twice_is_refused(
    command: CommandLine, shared_data: Path, tmp_path: Path
) -> None:
    enter_site(command, tmp_path)
    file = tmp_path / "rate.json"
    text = entergy(shared_data).read_text()
    file.write_text(text.replace("{", '{"demandwindow": 15, "demandwindow": 30, ', 1))
    assert "demandwindow" in command.refusal("import", "urdb", file, *WHERE)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"demandratchetpercentage": [0.8] * 12}, "demandratchetpercentage"),
        ({"lookbackPercent": 80}, "lookbackPercent"),
        ({"fueladjustmentsmonthly": [0] * 11 + [0.012]}, "fueladjustmentsmonthly"),
        ({"demandrateunit": "kVA"}, "demandrateunit is by kVA"),
        (
            {
                "flatdemandstructure": [[{"rate": 5}]],
                "flatdemandmonths": [0] * 12,
                "flatdemandunit": "kW daily",
            },
            "flatdemandunit is by kW daily",
        ),
        ({"flatdemandstructure": [[{"rate": 5}]]}, "of a month"),
        ({"energyratestructure": [[{"rate": 1, "unit": "kWh/kW"}]]}, "by kWh/kW"),
        ({"energyratestructure": [[{"adj": 1}]]}, ".rate: found nothing"),
        ({"energyweekendschedule": None}, "energyweekendschedule"),
        ({"energyweekdayschedule": [[9] * 24] * 12}, "from 0 to 3"),
        ({"demandweekdayschedule": [[0] * 24] * 11}, "12"),
        ({"demandwindow": 5}, "window_minutes"),
        (
            {"fixedmonthlycharge": 0, "fixedchargefirstmeter": 9, "fixedchargeunits": "$/year"},
            "$/year",
        ),
    ],
    ids=[
        "ratchet",
        "lookback",
        "fuel",
        "apparent power",
        "demand of a day",
        "no months",
        "unit",
        "no rate",
        "hole",
        "rate number",
        "months",
        "window",
        "year",
    ],
)
def test_a_rate_with_a_hole_or_without_a_rule_is_refused_by_name(
    command: CommandLine, shared_data: Path, tmp_path: Path, change: dict[str, object], says: str
) -> None:
    enter_site(command, tmp_path)
    raw = json.loads(entergy(shared_data).read_text()) | change
    file = tmp_path / "rate.json"
    file.write_text(json.dumps({name: value for name, value in raw.items() if value is not None}))
    assert says in command.refusal("import", "urdb", file, *WHERE)
    assert command.items("list", "site-costs") == []
    assert command.items("list", "tariffs") == [], "all of it or nothing"
