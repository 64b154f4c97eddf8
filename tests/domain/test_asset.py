from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.cost.asset import LeaseTerms, OwnedTerms, asset_cost
from ledger.domain.period import Period

BOUGHT = datetime(2024, 1, 31, tzinfo=UTC)
OWNED = OwnedTerms(Decimal("112000.01"), Decimal("11999.99"), BOUGHT, 37)


@given(st.lists(st.integers(1, 37 * 28 * 96), max_size=30))
def test_a_life_sums_to_its_cost_however_it_is_cut(quarters: list[int]) -> None:
    inner = sorted({BOUGHT + q * timedelta(minutes=15) for q in quarters} | {OWNED.end_of_life})
    edges = [BOUGHT, *inner, OWNED.end_of_life + timedelta(days=3)]
    parts = [asset_cost(OWNED, Period(start, end)) for start, end in pairwise(edges) if start < end]
    assert sum(parts) == Decimal("100000.02")


def test_life_ends_on_the_last_day_of_a_short_month() -> None:
    terms = OwnedTerms(Decimal(1), Decimal(0), datetime(2024, 1, 31, tzinfo=UTC), 13)
    assert terms.end_of_life == datetime(2025, 2, 28, tzinfo=UTC)


def test_forty_thousand_over_four_years_is_what_the_hour_costs() -> None:
    terms = OwnedTerms(Decimal(40_000), Decimal(0), datetime(2021, 1, 1, tzinfo=UTC), 48)
    year = Period(datetime(2022, 1, 1, tzinfo=UTC), datetime(2023, 1, 1, tzinfo=UTC))
    # 1,461 days of life, 365 of them in this year.
    assert asset_cost(terms, year).quantize(Decimal("0.01")) == Decimal("9993.16")


def test_a_leased_node_costs_its_hours() -> None:
    start = datetime(2025, 2, 27, 4, tzinfo=UTC)
    lease = LeaseTerms(Decimal(2), 278 * 8, start)
    assert asset_cost(lease, Period(start, start + timedelta(hours=1))) == 4_448
