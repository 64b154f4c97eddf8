"""Least squares without negative answers, held to what makes an answer the best."""

from fractions import Fraction
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.cost.least_squares import Products, fit, inverted, root, solve

numbers = st.integers(-50, 50)
rows = st.lists(st.tuples(st.tuples(numbers, numbers, numbers), numbers), min_size=3, max_size=9)


def missed(products: Products, answer: list[Fraction]) -> Fraction:
    """The square of what an answer misses, from the rows' products."""
    size = len(answer)
    cross = sum((answer[n] * products.target[n] for n in range(size)), Fraction(0))
    pairs = [(n, m) for n in range(size) for m in range(size)]
    both = sum((answer[n] * answer[m] * products.columns[n][m] for n, m in pairs), Fraction(0))
    return products.square - 2 * cross + both


@given(rows)
def test_no_other_answer_without_negatives_misses_less(
    given: list[tuple[tuple[int, ...], int]],
) -> None:
    products = Products.of(given, 3)
    best = fit(products)
    assert all(weight >= 0 for weight in best)
    others = [[Fraction(0)] * 3]
    for size in (1, 2, 3):
        for columns in combinations(range(3), size):
            solved = solve(products, columns)
            if solved is not None and min(solved) >= 0:
                full = dict(zip(columns, solved, strict=True))
                others.append([full.get(n, Fraction(0)) for n in range(3)])
    assert missed(products, list(best)) <= min(missed(products, other) for other in others)


@given(rows)
def test_rows_in_any_order_and_parts_give_the_same_answer(
    given: list[tuple[tuple[int, ...], int]],
) -> None:
    whole = Products.of(given, 3)
    parts = Products.of(given[:1], 3) + Products.of(reversed(given[1:]), 3)
    assert fit(whole) == fit(parts)
    assert whole + Products.of(given[:2], 3).negated() == Products.of(given[2:], 3)


def test_an_exact_law_is_found_and_missed_by_nothing() -> None:
    law = [((n, n * n % 7, 1), 3 * n + 5 * (n * n % 7) + 11) for n in range(20)]
    products = Products.of(law, 3)
    assert list(fit(products)) == [3, 5, 11]
    assert products.error(fit(products)) == 0
    assert products.error([Fraction(3), Fraction(5), Fraction(12)]) == 1


def test_a_column_made_up_by_others_stays_at_zero() -> None:
    answer = fit(Products.of([((n, 2 * n, 1), 6 * n + 1) for n in range(5)], 3))
    assert answer[2] == 1
    assert answer[0] + 2 * answer[1] == 6
    assert 0 in answer


def test_a_matrix_of_no_inverse_has_none() -> None:
    assert inverted([[1, 2], [2, 4]]) is None
    assert inverted([[2, 0], [0, 4]]) == [[Fraction(1, 2), 0], [0, Fraction(1, 4)]]
    assert root(Fraction(2)) ** 2 <= 2 < (root(Fraction(2)) + Fraction(1, 10**12)) ** 2
