"""Numbers of two words are whole numbers."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.wide import Wide, bit_length, minus, part_of, plus, product, scaled, thousandth

WORD = st.integers(0, 2**64 - 1)
NUMBER = st.integers(0, 2**127 - 1) | WORD


def wide(number: int) -> Wide:
    return np.uint64(number >> 64), np.uint64(number & 2**64 - 1)


def whole(number: Wide) -> int:
    return int(number[0]) << 64 | int(number[1])


@given(NUMBER, NUMBER, WORD, WORD)
def test_sums_products_and_thousandths(one: int, other: int, a: int, b: int) -> None:
    assert whole(plus(wide(one), wide(other))) == one + other
    low, high = sorted((one, other))
    assert whole(minus(wide(high), wide(low))) == high - low
    assert whole(product(np.uint64(a), np.uint64(b))) == a * b
    assert whole(thousandth(wide(one))) == one // 1_000
    assert bit_length(wide(one)) == one.bit_length()


@given(st.integers(0, 2**63 - 1), st.integers(1, 2**111 - 1), st.data())
def test_a_part_and_what_is_left_of_it(size: int, total: int, data: st.DataObject) -> None:
    short = st.integers(0, min(total, 2**20)).map(lambda less: total - less)
    weight = data.draw(st.integers(0, total) | st.sampled_from([0, total]) | short)
    part, left = part_of(np.uint64(size), wide(weight), wide(total))
    assert (int(part), whole(left)) == divmod(size * weight, total)


@given(st.integers(2**56, 2**63 - 1), st.integers(1, 8))
def test_a_part_beside_all_of_a_large_size_is_put_right_twice(size: int, less: int) -> None:
    # A float is several off at such a size, and so is what it says of that.
    total = 1652587173398748447911572032367164
    part, left = part_of(np.uint64(size), wide(total - less), wide(total))
    assert (int(part), whole(left)) == divmod(size * (total - less), total)


@given(st.integers(0, 2**48), st.integers(1, 2**60), st.data())
def test_a_word_by_a_part_of_another(a: int, by: int, data: st.DataObject) -> None:
    b = data.draw(st.integers(0, by) | st.sampled_from([0, by]))
    assert scaled(a, b, by) == a * b // by
