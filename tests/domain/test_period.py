from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.errors import InvalidInputError
from ledger.domain.period import Period, billing_period, hours, local_day, window_start, windows

ZONES = st.sampled_from(["UTC", "Europe/Copenhagen", "Asia/Kolkata", "America/Chicago"])
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)).map(  # noqa: DTZ001
    lambda naive: naive.replace(tzinfo=UTC)
)


@given(MOMENTS)
def test_a_window_holds_its_moment_and_starts_on_the_grid(moment: datetime) -> None:
    start = window_start(moment)
    assert start <= moment < start + timedelta(minutes=15)
    assert start.timestamp() % 900 == 0


@given(MOMENTS, ZONES, st.integers(1, 31))
def test_billing_periods_hold_their_moment_and_meet_their_neighbours(
    moment: datetime, zone: str, anchor: int
) -> None:
    period = billing_period(moment, anchor_day=anchor, zone_name=zone)
    assert moment in period
    after = billing_period(period.end, anchor_day=anchor, zone_name=zone)
    assert after.start == period.end
    for edge in (period.start, period.end):
        local = edge.astimezone(ZoneInfo(zone))
        tomorrow = local.date() + timedelta(days=1)
        assert local.day == anchor or (tomorrow.day == 1 and local.day < anchor)
    assert 27 <= (period.end - period.start).days <= 31


@pytest.mark.parametrize(
    ("moment", "start", "end"),
    [
        ("2024-02-28", "2024-01-31", "2024-02-29"),
        ("2024-02-29", "2024-02-29", "2024-03-31"),
        ("2023-03-30", "2023-02-28", "2023-03-31"),
        ("2023-12-31", "2023-12-31", "2024-01-31"),
        ("2024-01-01", "2023-12-31", "2024-01-31"),
    ],
)
def test_a_month_without_the_anchor_day_begins_its_period_on_its_last(
    moment: str, start: str, end: str
) -> None:
    at, *edges = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (moment, start, end))
    assert billing_period(at, anchor_day=31, zone_name="UTC") == Period(*edges)


@pytest.mark.parametrize(
    ("day", "length"), [(date(2024, 3, 31), 23), (date(2024, 10, 27), 25), (date(2024, 5, 5), 24)]
)
def test_days_have_the_hours_their_clocks_give_them(day: date, length: int) -> None:
    period = local_day(day, "Europe/Copenhagen")
    assert len(list(hours(period, "Europe/Copenhagen"))) == length
    assert len(list(windows(period))) == 4 * length


def test_hours_of_a_half_hour_zone_start_at_half_past() -> None:
    day = local_day(date(2025, 6, 1), "Asia/Kolkata")
    assert {hour.start.minute for hour in hours(day, "Asia/Kolkata")} == {30}


def test_an_empty_or_naive_period_is_refused() -> None:
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    with pytest.raises(InvalidInputError, match="empty"):
        Period(moment, moment)
    with pytest.raises(InvalidInputError, match="offset"):
        Period(moment.replace(tzinfo=None), moment)
