from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.cost.asset import LeaseTerms, OwnedTerms, asset_cost, schedule_of
from ledger.domain.cost.depreciation import add_months
from ledger.domain.errors import ConflictError
from ledger.domain.period import Period

BOUGHT = datetime(2024, 1, 31, tzinfo=UTC)
OWNED = OwnedTerms(Decimal("112000.01"), Decimal("11999.99"), BOUGHT, 37)


@given(st.lists(st.integers(1, 37 * 28 * 96), max_size=30))
def test_a_life_sums_to_its_cost_however_it_is_cut(quarters: list[int]) -> None:
    inner = sorted({BOUGHT + q * timedelta(minutes=15) for q in quarters} | {OWNED.end_of_life})
    edges = [BOUGHT, *inner, OWNED.end_of_life + timedelta(days=3)]
    parts = [
        asset_cost(OWNED.schedule, Period(start, end))
        for start, end in pairwise(edges)
        if start < end
    ]
    assert sum(parts) == Decimal("100000.02")


def test_life_ends_on_the_last_day_of_a_short_month() -> None:
    terms = OwnedTerms(Decimal(1), Decimal(0), datetime(2024, 1, 31, tzinfo=UTC), 13)
    assert terms.end_of_life == datetime(2025, 2, 28, tzinfo=UTC)


def test_forty_thousand_over_four_years_is_what_the_hour_costs() -> None:
    terms = OwnedTerms(Decimal(40_000), Decimal(0), datetime(2021, 1, 1, tzinfo=UTC), 48)
    year = Period(datetime(2022, 1, 1, tzinfo=UTC), datetime(2023, 1, 1, tzinfo=UTC))
    # 1,461 days of life, 365 of them in this year.
    assert asset_cost(terms.schedule, year).quantize(Decimal("0.01")) == Decimal("9993.16")


def test_a_leased_node_costs_its_hours() -> None:
    start = datetime(2025, 2, 27, 4, tzinfo=UTC)
    lease = LeaseTerms(Decimal(2), 278 * 8, start)
    assert asset_cost(lease, Period(start, start + timedelta(hours=1))) == 4_448


CHANGED = st.sampled_from([("capital_recovery", "8"), ("declining", "30"), ("declining", "100")])


@given(CHANGED, st.lists(st.integers(1, 37 * 28 * 96), max_size=30))
def test_a_life_by_any_method_sums_to_the_same_however_it_is_cut(
    method: tuple[str, str], quarters: list[int]
) -> None:
    terms = replace(OWNED, method=method[0], rate_percent=Decimal(method[1]))
    whole = asset_cost(terms.schedule, Period(BOUGHT, terms.end_of_life))
    inner = sorted({BOUGHT + q * timedelta(minutes=15) for q in quarters})
    edges = [BOUGHT, *(at for at in inner if at < terms.end_of_life), terms.end_of_life]
    parts = [asset_cost(terms.schedule, Period(start, end)) for start, end in pairwise(edges)]
    assert sum(parts) == whole
    assert min(parts) >= 0
    if method[0] == "declining":
        assert whole == Decimal("100000.02")


def test_capital_recovery_at_eight_per_cent_over_five_years() -> None:
    start = datetime(2023, 3, 1, tzinfo=UTC)
    terms = OwnedTerms(Decimal(40_000), Decimal(0), start, 60, "capital_recovery", Decimal(8))
    whole = asset_cost(terms.schedule, Period(start, terms.end_of_life))
    # The factor is 0.250456454568 a year: 10,018.26 of 40,000.
    assert (whole / 5).quantize(Decimal("0.01")) == Decimal("10018.26")
    assert (whole / 5 / 8_760).quantize(Decimal("0.0001")) == Decimal("1.1436")


def test_declining_goes_over_to_even_parts_and_stops_at_the_residual() -> None:
    start = datetime(2021, 1, 1, tzinfo=UTC)
    terms = OwnedTerms(Decimal(10_000), Decimal(1_000), start, 60, "declining", Decimal(40))
    years = [
        asset_cost(terms.schedule, Period(start.replace(year=y), start.replace(year=y + 1)))
        for y in range(2021, 2026)
    ]
    assert years == [4_000, 2_400, 1_440, 864, 296]
    slower = replace(terms, rate_percent=Decimal(20))
    first = Period(start, start.replace(year=2022))
    assert asset_cost(slower.schedule, first) == 2_000
    assert asset_cost(slower.schedule, Period(start, slower.end_of_life)) == 9_000


def at(year: int, month: int = 1) -> datetime:
    return datetime(year, month, 1, tzinfo=UTC)


FOUR_YEARS = OwnedTerms(Decimal(48_000), Decimal(0), at(2024), 48)


def cost_of_years(*history: tuple[datetime, OwnedTerms], until: int) -> list[Decimal]:
    """Each year at the terms that held at its start."""
    years = []
    for year in range(2024, until):
        known = [(since, terms) for since, terms in history if since <= at(year)]
        years.append(asset_cost(schedule_of(known), Period(at(year), at(year + 1))))
    return years


def test_a_longer_life_spreads_what_is_left_and_the_sum_stays() -> None:
    longer = replace(FOUR_YEARS, life_months=72)
    years = cost_of_years((at(2024), FOUR_YEARS), (at(2026), longer), until=2030)
    assert sum(years) == 48_000
    # 731 of 1,461 days are over; what is left goes evenly over the 1,461 days to come.
    assert years[2].quantize(Decimal("0.01")) == Decimal("5991.79")


def test_terms_that_say_the_same_again_change_nothing() -> None:
    again = (at(2024), FOUR_YEARS), (at(2025), FOUR_YEARS), (at(2026), FOUR_YEARS)
    assert cost_of_years(*again, until=2028) == cost_of_years((at(2024), FOUR_YEARS), until=2028)


def test_what_is_added_later_is_written_off_with_what_is_left() -> None:
    more = replace(FOUR_YEARS, purchase=Decimal(60_000))
    assert sum(cost_of_years((at(2024), FOUR_YEARS), (at(2026), more), until=2028)) == 60_000


@given(
    st.sampled_from(["straight_line", "declining"]),
    st.sampled_from(["straight_line", "declining"]),
    st.integers(1, 47),
    st.integers(1, 60),
)
def test_any_change_of_terms_writes_off_the_same_sum(
    before: str, after: str, month: int, longer: int
) -> None:
    rate = Decimal(30)
    first = replace(FOUR_YEARS, method=before, rate_percent=rate)
    changed = add_months(at(2024), month)
    then = replace(first, method=after, life_months=month + longer, residual=Decimal(0))
    until = asset_cost(schedule_of([(at(2024), first)]), Period(at(2024), changed))
    schedule = schedule_of([(at(2024), first), (changed, then)])
    assert until + asset_cost(schedule, Period(changed, then.end_of_life)) == 48_000


def test_interest_goes_on_from_what_is_owed() -> None:
    lent = replace(FOUR_YEARS, method="capital_recovery", rate_percent=Decimal(8))
    again = replace(lent, method="straight_line", rate_percent=Decimal(0))
    rest = Period(at(2026), at(2028))
    left = asset_cost(schedule_of([(at(2024), lent), (at(2026), again)]), rest)
    # Of an annuity of 14,492.19 two are owed: 1.783265 times as much.
    assert abs(left - Decimal("25843.42")) < 20


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"life_months": 12}, "no time"),
        ({"residual": Decimal(40_000)}, "less than its residual"),
        ({"purchase": Decimal(20_000)}, "less than its residual"),
    ],
)
def test_terms_that_leave_no_way_to_write_off_are_refused(
    changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(ConflictError, match=why):
        schedule_of([(at(2024), FOUR_YEARS), (at(2026), replace(FOUR_YEARS, **changes))])
