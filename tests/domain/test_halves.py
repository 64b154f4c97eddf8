"""Numbers in two halves are what Python has."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.halves import HALF, Halves, halves_of, products

half = st.integers(1 - HALF, HALF - 1)


def whole(halves: Halves) -> list[int]:
    return [int(high) * HALF + int(low) for high, low in zip(*halves, strict=True)]


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_halves_are_the_number(numbers: list[int]) -> None:
    halves = halves_of(np.array(numbers, np.int64))
    assert whole(halves) == numbers
    assert not ((halves.highs < 0) & (halves.lows > 0)).any()
    assert not ((halves.highs > 0) & (halves.lows < 0)).any()


@given(st.lists(st.tuples(half, half)))
def test_a_product_is_exact(pairs: list[tuple[int, int]]) -> None:
    left, right = (np.array([pair[n] for pair in pairs], np.int64) for n in (0, 1))
    assert whole(products(left, right)) == [a * b for a, b in pairs]
