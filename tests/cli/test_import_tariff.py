"""Published day-ahead prices become a tariff, whichever of their columns is read."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from ledger.domain.energy.tariff import TariffPoint, cut, energy_cost
from ledger.domain.period import Period, local_day
from tests.cli.command_line import CommandLine

COPENHAGEN = ZoneInfo("Europe/Copenhagen")
MJ_PER_HOUR_AT_10_KW = 10 * 3_600 * 1_000_000
DK1 = ("--delimiter", ";", "--where", "PriceArea=DK1", "--decimal-comma")
EUR = ("--price-column", "SpotPriceEUR", "--currency", "EUR", "--unit", "MWh", "--resolution", 60)
SITE = ("--tariff", "spot", "--facility", "site")
IN_UTC = ("--time-column", "HourUTC", "--zone", "UTC")
IN_LOCAL_TIME = ("--time-column", "HourDK", "--zone", "Europe/Copenhagen")


def energinet(shared_data: Path) -> Path:
    return shared_data / "electricity" / "energinet_elspot_2024_DK1_DE.csv.gz"


def recorded(command: CommandLine) -> list[TariffPoint]:
    async def read() -> list[Any]:
        connection = await asyncpg.connect(command.database.worker_url)
        try:
            return await connection.fetch(
                """SELECT period, price_per_mwh FROM tariff_price WHERE upper_inf(recorded)
                    ORDER BY period"""
            )
        finally:
            await connection.close()

    rows = asyncio.run(read())
    return [
        TariffPoint(Period(row["period"].lower, row["period"].upper), row["price_per_mwh"])
        for row in rows
    ]


def local_days(first: tuple[int, int, int], last: tuple[int, int, int]) -> Period:
    start = datetime(*first, tzinfo=COPENHAGEN)
    end = datetime(*last, tzinfo=COPENHAGEN) + timedelta(days=1)
    return Period(start.astimezone(UTC), end.astimezone(UTC))


def cost_of_10_kw(points: list[TariffPoint], period: Period) -> Decimal:
    total = Decimal(0)
    for part in cut(period, points):
        assert part.price_per_mwh is not None, part.period
        seconds = part.period.microseconds // 1_000_000
        total += energy_cost(MJ_PER_HOUR_AT_10_KW * seconds // 3_600, part.price_per_mwh)
    return total


@pytest.mark.parametrize("time", [IN_UTC, IN_LOCAL_TIME], ids=["HourUTC", "HourDK"])
def test_constant_load_costs_what_was_published(
    command: CommandLine, tmp_path: Path, shared_data: Path, time: tuple[str, ...]
) -> None:
    command.enter_factory(tmp_path)
    path = energinet(shared_data)
    done = command.json("import", "tariff", path, *SITE, *time, *DK1, *EUR)
    points = recorded(command)
    assert done["rows"] == len(points)
    spring = local_days((2024, 3, 31), (2024, 3, 31))
    autumn = local_days((2024, 10, 27), (2024, 10, 27))
    assert len(cut(spring, points)) == 23
    assert len(cut(autumn, points)) == 25
    assert cost_of_10_kw(points, spring) == Decimal("13.73719998")
    assert cost_of_10_kw(points, autumn) == Decimal("22.21770029")
    year = local_days((2024, 1, 1), (2024, 12, 31))
    assert cost_of_10_kw(points, year) == Decimal("6205.40829767")


def test_hourly_prices_with_offsets_fill_days_of_23_and_25_hours(
    command: CommandLine, tmp_path: Path, shared_data: Path
) -> None:
    command.enter_factory(tmp_path)
    file = shared_data / "electricity" / "ercot_hb_hubavg_dayahead_2023.csv.gz"
    columns = ("--time-column", "Datetime", "--price-column", "Price (USD/MWh)")
    command("import", "tariff", file, *SITE, *columns, "--currency", "USD")
    points = recorded(command)
    spring, autumn = (local_day(date(2023, *day), "America/Chicago") for day in ((3, 12), (11, 5)))
    assert (len(cut(spring, points)), len(cut(autumn, points))) == (23, 25)
    assert cost_of_10_kw(points, spring) == Decimal("5.7776")
    assert cost_of_10_kw(points, autumn) == Decimal("6.0081")


def test_same_file_again_enters_nothing(
    command: CommandLine, tmp_path: Path, shared_data: Path
) -> None:
    command.enter_factory(tmp_path)
    arguments = ("import", "tariff", energinet(shared_data), *SITE, *IN_UTC, *DK1, *EUR)
    first = command.json(*arguments)
    assert first["entered"] == first["rows"] == 8_784
    assert "recorded already" in command(*arguments).stdout
    assert len(recorded(command)) == 8_784


@pytest.mark.parametrize(("option", "said"), [("--currency", "EUR"), ("--facility", "elsewhere")])
def test_prices_said_to_be_of_another_site_or_currency_than_their_tariff_are_refused(
    command: CommandLine, tmp_path: Path, option: str, said: str
) -> None:
    command.enter_factory(tmp_path)
    path = tmp_path / "prices.csv"
    path.write_text("t,p\n2026-08-01T00:00Z,50\n", encoding="utf-8")
    columns = ("--time-column", "t", "--price-column", "p")
    command("import", "tariff", path, *SITE, *columns, "--currency", "USD")
    path.write_text("t,p\n2026-08-01T01:00Z,60\n", encoding="utf-8")
    refused = command.refusal("import", "tariff", path, "--tariff", "spot", *columns, option, said)
    assert f"not {said}" in refused
    assert f"Leave {option} out" in refused
    assert len(recorded(command)) == 1


def test_other_prices_of_the_same_times_are_refused_unless_replaced(
    command: CommandLine, tmp_path: Path
) -> None:
    command.enter_factory(tmp_path)
    path = tmp_path / "day.csv"
    shape = ("--time-column", "at", "--price-column", "price", "--currency", "EUR")
    path.write_text("at,price\n2024-01-01 00:00,50\n2024-01-01 01:00,60\n")
    command("import", "tariff", path, *SITE, *shape)
    path.write_text("at,price\n2024-01-01 01:30,-5.5\n")
    said = command.refusal("import", "tariff", path, *SITE, *shape)
    assert "already has 60 per MWh from 2024-01-01T01:00Z until 2024-01-01T02:00Z" in said
    command("import", "tariff", path, *SITE, *shape, "--resolution", 15, "--replace")
    prices = [
        (point.period.start.minute, f"{point.price_per_mwh:f}") for point in recorded(command)
    ]
    assert prices == [(0, "50"), (0, "60"), (30, "-5.5"), (45, "60")]


def test_a_file_that_does_not_reach_the_last_one_is_told_what_is_left(
    command: CommandLine, tmp_path: Path
) -> None:
    command.enter_factory(tmp_path)
    path = tmp_path / "day.csv"
    columns = ("--time-column", "at", "--price-column", "price", "--zone", "UTC")
    ask = ("import", "tariff", path, *SITE, *columns)
    path.write_text("at,price\n2024-01-01 00:00,50\n2024-01-01 01:00,60\n")
    assert command(*ask, "--currency", "EUR").stderr == ""
    path.write_text("at,price\n2024-01-01 04:00,50\n2024-01-01 05:00,60\n")
    left = "No price holds from 2024-01-01T02:00Z to 2024-01-01T04:00Z, between these prices and"
    assert left in command(*ask).stderr
    path.write_text("at,price\n2024-01-01 02:00,50\n2024-01-01 03:00,60\n")
    assert command(*ask).stderr == ""


def test_price_per_kwh_becomes_one_per_mwh(command: CommandLine, tmp_path: Path) -> None:
    command.enter_factory(tmp_path)
    path = tmp_path / "day.csv"
    path.write_text("at,end,price\n2024-01-01T00:00:00+01:00,2024-01-01T06:00:00+01:00,0.0123\n")
    shape = ("--time-column", "at", "--end-column", "end", "--price-column", "price")
    command("import", "tariff", path, *SITE, *shape, "--currency", "EUR", "--unit", "kWh")
    (point,) = recorded(command)
    assert point.price_per_mwh == Decimal("12.3")
    assert point.period.microseconds == 6 * 3_600 * 1_000_000


def test_wrong_columns_zone_and_cells_are_named(command: CommandLine, tmp_path: Path) -> None:
    command.enter_factory(tmp_path)
    path = tmp_path / "day.csv"
    path.write_text("at,price\n2024-01-01 00:00,5.0\n")
    shape = ("--price-column", "price", "--currency", "EUR")
    said = command.refusal("import", "tariff", path, *SITE, "--time-column", "hour", *shape)
    assert said.startswith("day.csv has no column hour. It has at, price.")
    at = ("--time-column", "at")
    said = command.refusal("import", "tariff", path, *SITE, *at, *shape, "--decimal-comma")
    assert said.startswith("Line 2: price '5.0' is not a number with a decimal comma")
    command("import", "tariff", path, *SITE, *at, *shape, "--zone", "Mars", status=2)
    said = command.refusal(
        "import", "tariff", path, "--tariff", "new", *at, "--price-column", "price"
    )
    assert said == "Tariff new is new. Give --facility and --currency for it."


def test_a_file_with_the_newest_day_first_keeps_its_repeated_hour(
    command: CommandLine, tmp_path: Path
) -> None:
    command.enter_factory(tmp_path)
    path = tmp_path / "october.csv"
    shape = ("--time-column", "t", "--price-column", "p", "--currency", "EUR")
    where = ("--zone", "Europe/Brussels", "--resolution", 15)
    quarters = ["00", "15", "30", "45"]
    hours = ["26 01", "26 02", "26 02", "26 03", "25 22", "25 23"]
    times = [f"2025-10-{hour}:{quarter}" for hour in hours for quarter in quarters]
    rows = "".join(f"{time},{price}\n" for price, time in enumerate(times))
    path.write_text(f"t,p\n{rows}")
    done = command("import", "tariff", path, *SITE, *shape, *where)
    assert "lines 6 to 9 taken as its first pass, lines 10 to 13 as its second" in done.stderr
    assert "the file has none from 2025-10-25T22:00Z to 2025-10-25T23:00Z" in done.stderr
    prices = {point.period.start: int(point.price_per_mwh) for point in recorded(command)}
    assert prices[datetime(2025, 10, 26, 0, 0, tzinfo=UTC)] == 4
    assert prices[datetime(2025, 10, 26, 1, 45, tzinfo=UTC)] == 11
    path.write_text(f"t,p\n{times[4]},1\n")
    said = command.refusal("import", "tariff", path, *SITE, *shape, *where)
    assert said.startswith("Line 2: the local time 2025-10-26 02:00 exists twice")
    fixed = ("--fold", "second", "--replace")
    assert command.json("import", "tariff", path, *SITE, *shape, *where, *fixed)["entered"] == 1
