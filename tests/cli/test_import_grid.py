"""Published carbon intensity becomes g CO2e of what was used, on days of 23 and 25 hours."""

import gzip
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.cli.command_line import CommandLine
from tests.cli.test_import_urdb import LEASED, enter_site, stored
from tests.support.books import Books

CHICAGO = ZoneInfo("America/Chicago")
LCA = "Carbon Intensity gCO₂eq/kWh (LCA)"
PRICES = ("--time-column", "Datetime", "--price-column", "Price (USD/MWh)", "--currency", "USD")
INTENSITY = ("--time-column", "Datetime (UTC)", "--factor-column", LCA, "--zone", "UTC")
SITE = ("--facility", "site", "--kind", "carbon_location", "--source", "Electricity Maps")
SPRING, AUTUMN = (3, 12), (11, 5)


def day_of(month_day: tuple[int, int]) -> tuple[datetime, datetime]:
    start = datetime(2023, *month_day, tzinfo=CHICAGO)
    end = datetime(2023, month_day[0], month_day[1] + 1, tzinfo=CHICAGO)
    return start, end


def ten_kw(month_day: tuple[int, int]) -> Any:
    """A board of 1 kW at a site that takes ten times as much, read each quarter hour."""

    async def write(books: Books) -> None:
        start, end = (at.astimezone(ZoneInfo("UTC")) for at in day_of(month_day))
        quarters = (end - start) // timedelta(minutes=15)
        at = [start + n * timedelta(minutes=15) for n in range(quarters + 1)]
        await books.pue(start, end, pue="10")
        await books.deployment(start, end, gpus=["GPU-a"])
        await books.readings("GPU-a", [(t, 10**6 + n * 900 * 10**6) for n, t in enumerate(at)])

    return write


def factory(command: CommandLine, folder: Path, shared_data: Path) -> Path:
    """A leased site with ERCOT's day-ahead prices; the file of its carbon intensity."""
    enter_site(command, folder)
    path = folder / "assets.csv"
    path.write_text(LEASED)
    command("import", "assets", path)
    electricity = shared_data / "electricity"
    prices = electricity / "ercot_hb_hubavg_dayahead_2023.csv.gz"
    command("import", "tariff", prices, "--tariff", "spot", "--facility", "site", *PRICES)
    return electricity / "carbon_US-TEX-ERCO_2023_hourly.csv.gz"


def asked(month_day: tuple[int, int], *options: object) -> tuple[object, ...]:
    since, until = (at.isoformat() for at in day_of(month_day))
    return ("report", "efficiency", "--entity", "factory", "--from", since, "--to", until, *options)


@pytest.mark.parametrize(
    ("month_day", "kwh", "cost", "grams"),
    [(SPRING, 230, "5.7776", "64.6617"), (AUTUMN, 250, "6.0081", "101.3174")],
    ids=["short", "long"],
)
def test_ten_kw_emit_what_was_published_on_short_and_long_days(
    command: CommandLine,
    tmp_path: Path,
    shared_data: Path,
    month_day: tuple[int, int],
    kwh: int,
    cost: str,
    grams: str,
) -> None:
    carbon = factory(command, tmp_path, shared_data)
    done = command.json("import", "grid", carbon, *SITE, *INTENSITY)
    assert done == {"kind": "grid", "rows": 8_760, "entered": 8_760}
    assert command.json("import", "grid", carbon, *SITE, *INTENSITY)["entered"] == 0
    stored(command, ten_kw(month_day))
    command("allocate")
    total = command.json(*asked(month_day))["total"]
    assert Decimal(total["energy_kwh"]) == kwh
    assert Decimal(total["cost"]).quantize(Decimal("0.0001")) == Decimal(cost)
    kilograms = Decimal(total["carbon_location_g"]) / 1_000
    assert kilograms.quantize(Decimal("0.0001")) == Decimal(grams)
    assert (total["carbon_market_g"], total["water_ml"]) == (None, None)


def test_a_series_with_a_hole_is_named_and_the_sum_unknown(
    command: CommandLine, tmp_path: Path, shared_data: Path
) -> None:
    carbon = factory(command, tmp_path, shared_data)
    lines = gzip.decompress(carbon.read_bytes()).decode().splitlines(keepends=True)
    holed = tmp_path / "holed.csv"
    holed.write_text("".join(one for one in lines if "2023-03-12 10:00:00" not in one))
    said = command("import", "grid", holed, *SITE, *INTENSITY).stderr
    assert "none from 2023-03-12T10:00Z to 2023-03-12T11:00Z" in said
    stored(command, ten_kw(SPRING))
    command("allocate")
    found = command.json(*asked(SPRING))
    assert found["total"]["carbon_location_g"] is None
    gaps = [gap for gap in found["grid_gaps"] if gap["kind"] == "carbon_location"]
    assert [(gap["facility_id"], gap["since"]) for gap in gaps] == [
        ("site", "2023-03-12T10:00:00.000000Z")
    ]
    shown = command(*asked(SPRING)).output
    assert "site has no carbon_location of a kWh from 2023-03-12T10:00Z" in shown


FACTORS = "at,factor\n2023-03-12T00:00:00Z,{}\n2023-03-12T01:00:00Z,400\n"


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (FACTORS.format("-1"), (), "send 0 or more"),
        (FACTORS.format("1000001"), (), "send what one kWh takes"),
        (FACTORS.format("none"), (), "send a decimal as text"),
        (FACTORS.format("400"), ("--resolution", 90), "and a factor lasts 90"),
        (FACTORS.format("400"), ("--facility", "nowhere"), "There is no facility nowhere"),
        (FACTORS.format("400"), ("--factor-column", "g"), "has no column g"),
    ],
    ids=["negative", "of a MWh", "no number", "overlapping", "no site", "no column"],
)
def test_factors_that_are_none_are_refused(
    command: CommandLine, tmp_path: Path, text: str, options: tuple[object, ...], said: str
) -> None:
    enter_site(command, tmp_path)
    path = tmp_path / "factors.csv"
    path.write_text(text)
    columns = ("--time-column", "at", "--factor-column", "factor")
    assert said in command.refusal("import", "grid", path, *SITE, *columns, *options)


def test_other_factors_of_the_same_time_are_a_conflict_unless_replaced(
    command: CommandLine, tmp_path: Path
) -> None:
    enter_site(command, tmp_path)
    path = tmp_path / "factors.csv"
    columns = ("--time-column", "at", "--factor-column", "factor")
    for factor in ("400", "300"):
        path.write_text(FACTORS.format(factor))
        command("import", "grid", path, *SITE, *columns, status=None)
    refused = command.refusal("import", "grid", path, *SITE, *columns)
    assert "already has 400 per kWh as its carbon_location from 2023-03-12T00:00Z" in refused
    done = command.json("import", "grid", path, *SITE, *columns, "--replace")
    assert done["entered"] == 1
    kept = command.items("list", "grid-factors")
    assert [(one["per_kwh"], one["source"]) for one in kept] == [
        *(("300", "Electricity Maps"), ("400", "Electricity Maps")),
    ]
