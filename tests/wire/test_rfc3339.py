"""One text, one instant: digits are cut off, never rounded; what is ambiguous is refused."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ledger.wire.errors import Rfc3339Error
from ledger.wire.rfc3339 import format_rfc3339, parse_rfc3339

COPENHAGEN = ZoneInfo("Europe/Copenhagen")
INSTANTS = st.datetimes(timezones=st.just(UTC))


@given(INSTANTS)
def test_an_instant_survives_the_trip(instant: datetime) -> None:
    assert parse_rfc3339(format_rfc3339(instant)) == instant


@given(
    st.datetimes(timezones=st.just(UTC)),
    st.integers(-1439, 1439),
    st.text("0123456789", max_size=12),
)
def test_any_offset_and_any_further_digit_name_the_same_instant(
    instant: datetime, minutes: int, digits: str
) -> None:
    assume(1 < instant.year < 9999)
    local = instant.astimezone(timezone(timedelta(minutes=minutes)))
    text = local.isoformat(timespec="microseconds")
    with_digits = text[:26] + digits + text[26:]
    assert parse_rfc3339(with_digits) == instant


def test_a_seventh_digit_is_truncated_even_at_nine() -> None:
    parsed = parse_rfc3339("2023-11-16 18:17:03.9999999", zone=UTC)
    assert format_rfc3339(parsed) == "2023-11-16T18:17:03.999999Z"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2026-08-06T06:31:12", "no offset"),
        ("2026-08-06", "not RFC 3339"),
        ("20260806T063112Z", "not RFC 3339"),
        ("2026-08-06T06:31Z", "not RFC 3339"),
        ("2026-08-06T06:31:12.Z", "not RFC 3339"),
        ("2026-08-06T06:31:12,5Z", "not RFC 3339"),
        ("2026-08-06T06:31:12Z ", "not RFC 3339"),
        ("2026-08-06T06:31:12Z\n", "not RFC 3339"),
        ("２026-08-06T06:31:12Z", "not RFC 3339"),
        ("2026-02-30T06:31:12Z", "no date"),
        ("2026-08-06T25:31:12Z", "no date"),
        ("2026-08-06T06:31:60Z", "no date"),
        ("2026-08-06T06:31:12+24:00", "offset beyond"),
        ("0001-01-01T00:00:00+01:00", "outside years"),
        ("9999-12-31T23:59:59-01:00", "outside years"),
    ],
)
def test_a_text_that_names_no_instant_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Rfc3339Error, match=reason):
        parse_rfc3339(text)


def test_a_zone_decides_where_the_text_has_no_offset() -> None:
    assert parse_rfc3339("2024-07-01T12:00:00", zone=COPENHAGEN).hour == 10
    assert parse_rfc3339("2024-07-01T12:00:00Z", zone=COPENHAGEN).hour == 12


def test_a_local_time_that_the_clock_skipped_is_refused() -> None:
    with pytest.raises(Rfc3339Error, match="does not exist"):
        parse_rfc3339("2024-03-31T02:30:00", zone=COPENHAGEN)


def test_a_local_time_that_came_twice_needs_a_fold() -> None:
    text = "2024-10-27T02:30:00"
    with pytest.raises(Rfc3339Error, match="exists twice"):
        parse_rfc3339(text, zone=COPENHAGEN)
    assert parse_rfc3339(text, zone=COPENHAGEN, fold=0).hour == 0
    assert parse_rfc3339(text, zone=COPENHAGEN, fold=1).hour == 1


def test_a_naive_time_is_never_written() -> None:
    with pytest.raises(Rfc3339Error, match="no zone"):
        format_rfc3339(datetime(2024, 1, 1))  # noqa: DTZ001
