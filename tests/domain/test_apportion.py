from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.apportion import apportion, apportion_amount, cumulative_split
from ledger.domain.errors import InvalidInputError

WEIGHTS = st.lists(st.integers(0, 10**9), min_size=1, max_size=20).filter(any)


@given(st.integers(-(10**18), 10**18), WEIGHTS)
def test_parts_add_up_and_none_is_off_by_one_or_more(total: int, weights: list[int]) -> None:
    parts = apportion(total, weights)
    assert sum(parts) == total
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * sum(weights) - total * weight) < sum(weights)


@given(st.integers(-(10**18), 10**18), WEIGHTS)
def test_a_negative_total_mirrors_its_positive(total: int, weights: list[int]) -> None:
    assert apportion(-total, weights) == [-part for part in apportion(total, weights)]


def test_ties_go_to_the_earlier_position() -> None:
    assert apportion(2, [1, 1, 1]) == [1, 1, 0]


@pytest.mark.parametrize("weights", [[], [0, 0], [3, -1]])
def test_weights_that_say_nothing_are_refused(weights: list[int]) -> None:
    with pytest.raises(InvalidInputError, match="cannot be split"):
        apportion(5, weights)


@given(st.decimals(-(10**9), 10**9, places=12), WEIGHTS)
def test_amounts_add_up_to_the_last_of_twelve_decimals(total: Decimal, weights: list[int]) -> None:
    assert sum(apportion_amount(total, weights)) == total


@given(
    st.integers(0, 10**15),
    st.integers(0, 10**12),
    st.integers(0, 10**10),
    st.lists(st.integers(0, 2 * 10**12), min_size=1, max_size=10),
)
def test_any_finer_cut_adds_up_to_the_same(
    total: int, start: int, length: int, inner: list[int]
) -> None:
    end = start + length
    edges = sorted([0, 3 * 10**12, *inner])
    parts = cumulative_split(total, start=start, end=end, edges=edges)
    assert sum(parts) == total
    coarse = cumulative_split(total, start=start, end=end, edges=[edges[0], edges[1], edges[-1]])
    assert coarse == [parts[0], sum(parts[1:])]
