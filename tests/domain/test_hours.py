"""Prices of some hours of the week: each instant is inside or outside once, whatever clocks do."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.errors import InvalidInputError
from ledger.domain.period import DAY, WINDOW, Period, windows
from ledger.domain.pricing.hours import read_hours

ZONES = st.sampled_from(["UTC", "Europe/Copenhagen", "Asia/Kathmandu", "Australia/Lord_Howe"])
DAYS = st.sampled_from(["", "mon ", "fri-mon ", "sat-sun "])
CLOCKS = st.integers(0, 95).map(lambda n: f"{n // 4:02}:{n % 4 * 15:02}")
# Clocks go forward in Europe and back in Australia in the first week, the other way in the second.
WEEKS = st.sampled_from([datetime(2024, 3, 29, tzinfo=UTC), datetime(2024, 10, 25, tzinfo=UTC)])


@given(days=DAYS, since=CLOCKS, until=CLOCKS, zone=ZONES, begins=WEEKS)
def test_edges_are_where_hours_begin_and_end(
    days: str, since: str, until: str, zone: str, begins: datetime
) -> None:
    hours = read_hours(f"{days}{since}-{until} {zone}")
    within = Period(begins + WINDOW, begins + 9 * DAY)
    held = [hours.hold(at) for at in windows(within)]
    starts = list(windows(within))
    changes = [at for n, at in enumerate(starts) if n and held[n] != held[n - 1]]
    assert list(hours.edges(within)) == changes


@given(since=CLOCKS, until=CLOCKS, zone=ZONES, begins=WEEKS)
def test_a_day_and_the_rest_of_it_are_every_instant_once(
    since: str, until: str, zone: str, begins: datetime
) -> None:
    if since == until:
        return
    peak, rest = (read_hours(f"{a}-{b} {zone}") for a, b in ((since, until), (until, since)))
    assert not peak.meet(rest)
    for at in windows(Period(begins, begins + 9 * DAY)):
        assert peak.hold(at) != rest.hold(at)


def test_hours_behind_midnight_are_of_the_day_they_began_on() -> None:
    night = read_hours("fri 22:00-06:00 Europe/Copenhagen")
    friday = datetime(2024, 6, 7, 20, tzinfo=UTC)
    inside = [friday + n * timedelta(hours=1) for n in range(8)]
    assert all(night.hold(at) for at in inside)
    assert not any(night.hold(at) for at in (friday - WINDOW, friday + 8 * timedelta(hours=1)))
    assert read_hours("00:00-24:00 UTC").quarters == read_hours("00:00-00:00 UTC").quarters


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("night", "names no hours"),
        ("22:00-06:00", "names no hours"),
        ("mo 22:00-06:00 UTC", "names no hours"),
        ("22:10-06:00 UTC", "on quarter hours"),
        ("22:00-24:15 UTC", "on quarter hours"),
        ("25:00-06:00 UTC", "on quarter hours"),
        ("22:00-06:00 Mars/Base", "no time zone"),
    ],
    ids=["word", "no zone", "no day", "ten past", "past midnight", "no hour", "no such zone"],
)
def test_hours_that_are_none_are_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        read_hours(text)
