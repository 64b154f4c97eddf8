"""Numbers in order by their digits, beside what `sorted` says."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.digit_order import in_order

_numbers = st.lists(
    st.one_of(
        st.integers(0, 2**63 - 1),
        st.integers(0, 9),
        st.integers(2**40, 2**40 + 9),
        st.integers(0, 20).map(lambda n: n << 50 | n),
    ),
    max_size=60,
)


@given(_numbers, st.sampled_from([0, 0, 1, 3, 11, 21, 50, 62]))
def test_numbers_are_in_order_by_their_bits_from_one_on(drawn: list[int], low: int) -> None:
    found = in_order(np.array(drawn, np.int64), low)
    assert found.tolist() == sorted(drawn, key=lambda number: number >> low)


def test_many_numbers_are_in_order() -> None:
    drawn = np.random.default_rng(1).integers(0, 2**45, 100_000)
    assert in_order(drawn.copy(), 0).tolist() == sorted(drawn.tolist())
