"""What one invoice may hold, for all periods, lines and prices."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.billing.draft import (
    LINES_MAX,
    MINOR_UNITS_MAX,
    check_bounds,
    clear_of,
    payable_lines,
    with_same_terms,
)
from ledger.domain.billing.invoice import Billed, InvoiceLine, LineKey, totals
from ledger.domain.errors import InvalidInputError
from ledger.domain.period import Period, intersect
from ledger.domain.pricing.models.per_unit import PerUnit

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def key(price_id: int = 1, model: str = "llama") -> LineKey:
    end = START + 31 * DAY
    return LineKey(START, end, model, "standard", "", "", 0, "output_visible", price_id)


def line(amount: int, kind: str = "usage") -> InvoiceLine:
    return InvoiceLine(kind, key(), amount, Decimal(amount), Decimal(amount))


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 40)), max_size=20))
def test_periods_billed_one_after_the_other_never_overlap(asked: list[tuple[int, int]]) -> None:
    billed: list[Period] = []
    for first, length in asked:
        moment = START + first * DAY
        whole = Period(moment - length // 2 * DAY, moment + (length // 2 + 1) * DAY)
        period = clear_of(whole, moment, billed)
        assert moment in period
        if period not in billed:
            assert intersect(period, whole) == period
            assert all(intersect(period, other) is None for other in billed)
            billed.append(period)


@given(st.lists(st.integers(-100, 100)), st.lists(st.integers(0, 100)))
def test_an_invoice_is_never_negative_and_keeps_its_usage(
    taken_back: list[int], used: list[int]
) -> None:
    usage = [line(amount) for amount in used]
    adjustments = [line(amount, "adjustment") for amount in taken_back]
    lines = payable_lines(usage, adjustments)
    assert totals(lines, currency="EUR").payable >= 0
    assert lines[: len(usage)] == tuple(usage)
    assert len(lines) in (len(usage), len(usage) + len(adjustments))


@given(st.dictionaries(st.integers(1, 6), st.integers(-(10**9), 10**9), max_size=6))
def test_prices_of_equal_terms_are_one_line_and_nothing_is_lost(amounts: dict[int, int]) -> None:
    prices = {price_id: PerUnit(amount=Decimal(price_id % 2 + 1)) for price_id in range(1, 7)}
    sums = {key(price_id): Billed(n, Decimal(n)) for price_id, n in amounts.items()}
    merged = with_same_terms(sums, {each.price_id: prices[each.price_id] for each in sums})
    assert len(merged) == len({price_id % 2 for price_id in amounts})
    assert sum(each.quantity for each in merged.values()) == sum(amounts.values())
    assert sum(each.exact for each in merged.values()) == sum(amounts.values())


def test_an_absurd_invoice_is_refused() -> None:
    most = MINOR_UNITS_MAX // 100
    check_bounds([line(most)], "EUR")
    with pytest.raises(InvalidInputError, match="beyond"):
        check_bounds([line(most), line(1)], "EUR")
    with pytest.raises(InvalidInputError, match="beyond"):
        check_bounds([line(most + 1), line(-1)], "EUR")
    with pytest.raises(InvalidInputError, match=str(LINES_MAX)):
        check_bounds([line(1)] * (LINES_MAX + 1), "EUR")
