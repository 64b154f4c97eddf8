import csv
import gzip
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from ledger.domain.energy.tariff import TariffPoint, cut, energy_cost
from ledger.domain.errors import ConflictError
from ledger.domain.period import Period, local_day, midnight
from ledger.wire.units import MJ_PER_KWH

ZONE = "Europe/Copenhagen"
TEN_KW_HOUR_MJ = 10_000_000 * 3_600


def danish_prices(folder: Path) -> list[TariffPoint]:
    with gzip.open(folder / "electricity/energinet_elspot_2024_DK1_DE.csv.gz", "rt") as file:
        rows = [row for row in csv.DictReader(file, delimiter=";") if row["PriceArea"] == "DK1"]
    points = []
    for row in rows:
        start = datetime.fromisoformat(row["HourUTC"]).replace(tzinfo=UTC)
        price = Decimal(row["SpotPriceEUR"].replace(",", "."))
        points.append(TariffPoint(Period(start, start + timedelta(hours=1)), price))
    return points


def ten_kw_over(period: Period, points: list[TariffPoint]) -> Decimal:
    parts = cut(period, points)
    assert all(part.price_per_mwh is not None for part in parts)
    return sum(
        (energy_cost(10_000_000 * p.period.seconds, p.price_per_mwh or Decimal(0)) for p in parts),
        Decimal(0),
    )


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("day", "hours", "expected"),
    [(date(2024, 3, 31), 23, "13.73719998"), (date(2024, 10, 27), 25, "22.21770029")],
)
def test_days_on_which_clocks_change_cost_what_their_hours_cost(
    shared_data: Path, day: date, hours: int, expected: str
) -> None:
    period = local_day(day, ZONE)
    points = danish_prices(shared_data)
    assert len(cut(period, points)) == hours
    assert ten_kw_over(period, points) == Decimal(expected)


@pytest.mark.shared_data
def test_a_year_of_spot_prices_adds_up_to_the_last_digit(shared_data: Path) -> None:
    year = Period(midnight(date(2024, 1, 1), ZONE), midnight(date(2025, 1, 1), ZONE))
    assert ten_kw_over(year, danish_prices(shared_data)) == Decimal("6205.40829767")


def test_a_stretch_nobody_priced_is_a_gap_and_not_free() -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    hour = timedelta(hours=1)
    parts = cut(
        Period(start, start + 3 * hour),
        [TariffPoint(Period(start + hour, start + 2 * hour), Decimal(50))],
    )
    assert [part.price_per_mwh for part in parts] == [None, Decimal(50), None]


def test_two_prices_at_once_are_refused() -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    period = Period(start, start + timedelta(hours=1))
    with pytest.raises(ConflictError, match="Two prices"):
        cut(period, [TariffPoint(period, Decimal(1)), TariffPoint(period, Decimal(2))])


def test_a_negative_price_is_income() -> None:
    assert energy_cost(TEN_KW_HOUR_MJ, Decimal("-5")) == Decimal("-0.05")


def test_a_million_tokens_of_a_published_run_at_the_dearest_and_a_negative_hour() -> None:
    # Llama 3.3 70B on four H100 at 256 sequences: 0.1364130624 kWh a million output tokens.
    energy_mj = 491_087_025
    kwh = Decimal(energy_mj) / MJ_PER_KWH
    assert abs(kwh - Decimal("0.1364130624")) < Decimal("1e-9")
    dearest, negative = Decimal("936.280029"), Decimal("-60.049999")
    nine = Decimal("1e-9")
    assert energy_cost(energy_mj, dearest).quantize(nine) == Decimal("0.127720826")
    assert energy_cost(energy_mj, negative).quantize(nine) == Decimal("-0.008191604")
