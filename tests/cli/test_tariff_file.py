"""A price file in local time: its repeated hour is read as it was, or refused; never exchanged."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.commands.data.rows import InputRow
from ledger.commands.data.tariff_file import PriceSeries, TariffColumns, price_series
from ledger.domain.errors import InvalidInputError
from ledger.wire.tariff_inputs import TariffPeriod

BRUSSELS = "Europe/Brussels"
# Zones with the first local day of a span of three that holds a change of the clocks: back at one,
# two and three o'clock and at midnight, by an hour and by half of one; and forth.
CHANGES = {
    BRUSSELS: (2025, 10, 25),
    "America/New_York": (2025, 11, 1),
    "Australia/Lord_Howe": (2025, 4, 5),
    "America/Havana": (2025, 11, 1),
    "Africa/Cairo": (2024, 10, 30),
    "Atlantic/Azores": (2025, 10, 25),
}
SPRING = {BRUSSELS: (2025, 3, 29), "Australia/Lord_Howe": (2025, 10, 4)}


def three_days(zone: str, first: tuple[int, int, int], minutes: int) -> list[datetime]:
    start = datetime(*first, tzinfo=ZoneInfo(zone))
    end = (start + timedelta(days=3)).astimezone(UTC)
    at, instants = start.astimezone(UTC), []
    while at < end:
        instants.append(at)
        at += timedelta(minutes=minutes)
    return instants


def row(line: int, instant: datetime, zone: str, price: int) -> InputRow:
    local = instant.astimezone(ZoneInfo(zone))
    return InputRow(line, {"t": f"{local:%Y-%m-%d %H:%M}", "p": str(price)}, texts=True)


def read(rows: list[InputRow], zone: str, minutes: int, fold: int | None = None) -> PriceSeries:
    columns = TariffColumns("t", "p", None, minutes, False, False, ZoneInfo(zone), fold)
    return price_series(rows, columns)


def read_or_refused(rows: list[InputRow], zone: str, minutes: int) -> PriceSeries | None:
    try:
        return read(rows, zone, minutes)
    except InvalidInputError as refused:
        if "exists twice" not in refused.wrong:
            raise
        return None


def file_of(instants: list[datetime], order: list[datetime], zone: str) -> list[InputRow]:
    price = {instant: number for number, instant in enumerate(instants)}
    return [row(line, at, zone, price[at]) for line, at in enumerate(order, 2)]


def as_read(series: PriceSeries) -> dict[datetime, Decimal]:
    return {p.start: p.per_mwh for p in series.periods if isinstance(p, TariffPeriod)}


def truth(instants: list[datetime]) -> dict[datetime, Decimal]:
    return {instant: Decimal(number) for number, instant in enumerate(instants)}


def local_days(instants: list[datetime], zone: str) -> list[list[datetime]]:
    by_day = groupby(instants, key=lambda at: at.astimezone(ZoneInfo(zone)).date())
    return [list(day) for _, day in by_day]


@pytest.mark.parametrize("zone", CHANGES)
@pytest.mark.parametrize("minutes", [15, 30, 60])
@pytest.mark.parametrize("days_back", [False, True])
@pytest.mark.parametrize("hours_back", [False, True])
def test_days_and_hours_in_either_direction_are_read_as_they_were(
    zone: str, minutes: int, days_back: bool, hours_back: bool
) -> None:
    instants = three_days(zone, CHANGES[zone], minutes)
    days = local_days(instants, zone)[:: -1 if days_back else 1]
    order = [at for day in days for at in day[:: -1 if hours_back else 1]]
    rows = file_of(instants, order, zone)
    if zone == "Australia/Lord_Howe" and minutes == 60:
        with pytest.raises(InvalidInputError, match="exists twice, and the file has it once"):
            read(rows, zone, minutes)
        return
    series = read(rows, zone, minutes)
    assert as_read(series) == truth(instants)
    assert len(series.notes()) == 1
    assert "exists twice" in series.notes()[0]


@given(data=st.data())
def test_days_in_any_order_are_read_as_they_were_or_refused(data: st.DataObject) -> None:
    zone = data.draw(st.sampled_from(list(CHANGES)))
    minutes = data.draw(st.sampled_from([15, 30, 60]))
    instants = three_days(zone, CHANGES[zone], minutes)
    days = [
        day[:: data.draw(st.sampled_from([1, -1]))]
        for day in data.draw(st.permutations(local_days(instants, zone)))
    ]
    rows = file_of(instants, [at for day in days for at in day], zone)
    series = read_or_refused(rows, zone, minutes)
    assert series is None or as_read(series) == truth(instants)


@given(data=st.data())
def test_rows_in_any_order_are_named_where_they_are_not_refused(data: st.DataObject) -> None:
    zone = data.draw(st.sampled_from(list(CHANGES)))
    minutes = data.draw(st.sampled_from([15, 30, 60]))
    instants = three_days(zone, CHANGES[zone], minutes)
    rows = file_of(instants, data.draw(st.permutations(instants)), zone)
    series = read_or_refused(rows, zone, minutes)
    if series is not None and as_read(series) != truth(instants):
        assert "exists twice" in " ".join(series.notes())


@pytest.mark.parametrize("back", [False, True])
def test_pairs_of_a_file_sorted_by_text_are_read_in_its_direction_and_named(back: bool) -> None:
    instants = three_days(BRUSSELS, CHANGES[BRUSSELS], 15)
    order = sorted(instants, key=lambda at: f"{at.astimezone(ZoneInfo(BRUSSELS)):%F %H:%M}")
    series = read(file_of(instants, order[:: -1 if back else 1], BRUSSELS), BRUSSELS, 15)
    assert as_read(series) == truth(instants)
    assert "rows stand in pairs" in series.notes()[0]


def test_newest_hour_first_with_quarters_ascending_is_read_as_it_was() -> None:
    instants = three_days(BRUSSELS, CHANGES[BRUSSELS], 15)
    hours = [instants[place : place + 4] for place in range(0, len(instants), 4)]
    order = [at for hour in reversed(hours) for at in hour]
    assert as_read(read(file_of(instants, order, BRUSSELS), BRUSSELS, 15)) == truth(instants)


@pytest.mark.parametrize("lost", [0, 1])
def test_a_pass_that_is_not_there_is_refused_until_it_is_said_which(lost: int) -> None:
    instants = three_days(BRUSSELS, CHANGES[BRUSSELS], 15)
    begin = instants.index(datetime(2025, 10, 26, 0, 0, tzinfo=UTC)) + 4 * lost
    there = instants[:begin] + instants[begin + 4 :]
    rows = file_of(instants, there, BRUSSELS)
    with pytest.raises(InvalidInputError, match="--fold first or --fold second"):
        read(rows, BRUSSELS, 15)
    series = read(rows, BRUSSELS, 15, fold=1 - lost)
    assert as_read(series) == {at: truth(instants)[at] for at in there}
    assert series.holes == ((instants[begin], instants[begin + 4]),)
    assert "the file has none from 2025-10-26T0" in series.notes()[0]


def test_one_quarter_lacking_from_a_pass_is_refused() -> None:
    instants = three_days(BRUSSELS, CHANGES[BRUSSELS], 15)
    instants.remove(datetime(2025, 10, 26, 1, 15, tzinfo=UTC))
    with pytest.raises(InvalidInputError, match="02:15 exists twice, and the file has it once"):
        read(file_of(instants, instants, BRUSSELS), BRUSSELS, 15)


def test_two_areas_are_refused_by_their_lines() -> None:
    instants = three_days(BRUSSELS, CHANGES[BRUSSELS], 60)
    rows = file_of(instants, instants + instants, BRUSSELS)
    with pytest.raises(InvalidInputError, match=r"Lines 2 and \d+ are both of .*--where"):
        read(rows, BRUSSELS, 60)


def test_two_rows_of_the_repeated_hour_alone_say_nothing_of_their_order() -> None:
    instants = [datetime(2025, 10, 26, hour, tzinfo=UTC) for hour in (0, 1)]
    with pytest.raises(InvalidInputError, match="does not say which is which"):
        read(file_of(instants, instants, BRUSSELS), BRUSSELS, 60)


@pytest.mark.parametrize("zone", SPRING)
def test_a_spring_day_is_whole_and_a_time_it_skips_is_refused(zone: str) -> None:
    instants = three_days(zone, SPRING[zone], 30)
    series = read(file_of(instants, instants[::-1], zone), zone, 30)
    assert as_read(series) == truth(instants)
    assert not series.notes()
    year, month, day = SPRING[zone]
    skipped = InputRow(9, {"t": f"{year}-{month:02}-{day + 1:02} 02:00", "p": "1"}, texts=True)
    with pytest.raises(InvalidInputError, match=r"Line 9: .* does not exist in .*offset"):
        read([skipped], zone, 30)


def test_a_mix_of_resolutions_is_refused_and_a_hole_is_named() -> None:
    hour, quarter = timedelta(hours=1), timedelta(minutes=15)
    first = datetime(2025, 9, 30, 20, tzinfo=UTC)
    hourly = [first + number * hour for number in range(4)]
    mixed = hourly + [hourly[-1] + hour + number * quarter for number in range(8)]
    for minutes in (15, 60):
        with pytest.raises(InvalidInputError, match=r"minutes apart, and a price lasts"):
            read(file_of(mixed, mixed, "UTC"), "UTC", minutes)
    lacking = hourly[:2] + hourly[3:]
    series = read(file_of(lacking, lacking[::-1], "UTC"), "UTC", 60)
    assert series.holes == ((hourly[2], hourly[3]),)


def test_an_end_column_is_read_on_from_the_start() -> None:
    columns = TariffColumns("t", "p", "e", 60, False, False, ZoneInfo(BRUSSELS))
    local = ["01:00", "02:00", "02:00", "03:00", "04:00"]
    cells = [
        {"t": f"2025-10-26 {start}", "e": f"2025-10-26 {end}", "p": str(number)}
        for number, (start, end) in enumerate(pairwise(local))
    ]
    rows = [InputRow(line, one, texts=True) for line, one in enumerate(cells, 2)]
    series = price_series(rows, columns)
    assert [period.start.hour for period in series.periods] == [23, 0, 1, 2]
    assert not series.holes


@pytest.mark.parametrize("minutes", [15, 60])
def test_ends_in_local_time_leave_the_repeated_hour_whole(minutes: int) -> None:
    instants = three_days(BRUSSELS, CHANGES[BRUSSELS], minutes)
    zone = ZoneInfo(BRUSSELS)
    length = timedelta(minutes=minutes)
    # As a market writes it: each row ends by the clock of its own beginning.
    rows = [
        InputRow(
            line,
            {
                "t": f"{at.astimezone(zone):%Y-%m-%d %H:%M}",
                "e": f"{at.astimezone(zone).replace(fold=0, tzinfo=None) + length:%Y-%m-%d %H:%M}",
                "p": str(line),
            },
            texts=True,
        )
        for line, at in enumerate(instants, 2)
    ]
    columns = TariffColumns("t", "p", "e", 60, False, False, zone)
    periods = price_series(rows, columns).periods
    assert [(period.start, period.until) for period in periods] == [
        (at, at + length) for at in instants
    ]


@pytest.mark.parametrize(
    ("column", "per_kwh", "way_out"),
    [
        ("EUR/kWh", False, "--unit kWh"),
        ("price_eur_kwh", False, "--unit kWh"),
        ("Day-ahead Price [EUR/MWh]", True, "--unit MWh"),
        ("Preis (ct/kWh)", True, "Divide them by 100"),
    ],
)
def test_a_column_that_says_another_unit_is_refused(
    column: str, per_kwh: bool, way_out: str
) -> None:
    columns = TariffColumns("t", column, None, 60, per_kwh, False, ZoneInfo("UTC"))
    rows = [InputRow(2, {"t": "2026-01-01 00:00", column: "0.2"}, texts=True)]
    with pytest.raises(InvalidInputError, match=way_out):
        price_series(rows, columns)


@pytest.mark.parametrize("column", ["p", "MWh and kWh", "SpotPriceEUR", "Product", "centre"])
def test_a_column_that_says_no_unit_is_read_in_the_one_given(column: str) -> None:
    columns = TariffColumns("t", column, None, 60, False, False, ZoneInfo("UTC"))
    rows = [
        InputRow(line, {"t": f"2026-01-01 0{line}:00", column: price}, texts=True)
        for line, price in enumerate(("0.21", "-0.02", "90"))
    ]
    (note,) = price_series(rows, columns).notes()
    assert "--unit kWh" in note
    assert price_series(rows[2:], columns).notes() == []


@pytest.mark.parametrize(
    ("column", "text", "zone_said", "told"),
    [
        ("t", "2026-01-01 00:00", False, True),
        ("t", "2026-01-01 00:00", True, False),
        ("t", "2026-01-01 00:00Z", False, False),
        ("t", "2026-01-01 00:00+01:00", False, False),
        ("HourUTC", "2026-01-01 00:00", False, False),
    ],
)
def test_times_whose_zone_nobody_says_are_told_to_be_taken_as_utc(
    column: str, text: str, zone_said: bool, told: bool
) -> None:
    rows = [InputRow(2, {column: text, "p": "50"}, texts=True)]
    utc = ZoneInfo("UTC")
    columns = TariffColumns(column, "p", None, 60, False, False, utc, zone_said=zone_said)
    notes = price_series(rows, columns).notes()
    assert any("were read as UTC" in note for note in notes) is told
