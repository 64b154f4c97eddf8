"""Parts made in columns are those made one by one."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.domain.apportion import apportion
from ledger.domain.apportion_columns import WideWeights, apportion_columns
from ledger.domain.errors import InvalidInputError

WEIGHT = st.integers(0, 2**110) | st.integers(0, 3) | st.sampled_from([2**62, 2**100, 2**110])
WEIGHTS = st.lists(WEIGHT, min_size=1, max_size=40).filter(any)
TOTAL = st.integers(-(2**60), 2**60) | st.integers(-(2**80), 2**80) | st.integers(-100, 100)


@given(TOTAL, WEIGHTS)
@example(2**60 - 1, [2**110] * 40)
@example(2**60, [1, 2**110, 1])
@example(7, [3] * 40)
@example(-(2**59) - 1, [2**109 + n for n in range(40)])
def test_a_column_is_split_as_its_weights_one_by_one(total: int, weights: list[int]) -> None:
    totals = (total, 0, 7, -total)
    columns = apportion_columns(totals, _wide(weights))
    assert columns.tolist() == [apportion(each, weights) for each in totals]


@pytest.mark.parametrize("weights", [[], [0, 0]], ids=["none", "zero"])
def test_weights_of_nothing_are_refused(weights: list[int]) -> None:
    with pytest.raises(InvalidInputError):
        apportion_columns([5], _wide(weights))


def _wide(weights: list[int]) -> WideWeights:
    words = [divmod(weight, 2**64) for weight in weights]
    return WideWeights(*np.array(words, np.uint64).reshape(-1, 2).T.copy())
