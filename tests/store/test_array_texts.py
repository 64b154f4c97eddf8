"""Runs of columns are written as Python and PostgreSQL would write them."""

from decimal import Decimal

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.arrays import Ints
from ledger.domain.halves import HALF, Halves
from ledger.store.array_texts import decimal_texts, name_texts, whole_texts

runs = st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4), max_size=4)
amount = st.tuples(st.integers(1 - HALF**2, HALF**2 - 1), st.integers(0, 12))


def column(rows: list[list[int]]) -> tuple[Ints, Ints]:
    ends = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return np.array([value for row in rows for value in row], np.int64), ends


@given(runs)
def test_whole_numbers(rows: list[list[int]]) -> None:
    expected = ["{" + ",".join(map(str, row)) + "}" for row in rows]
    assert whole_texts(*column(rows)) == expected


@given(st.lists(st.lists(amount, max_size=4), max_size=4))
def test_decimals(rows: list[list[tuple[int, int]]]) -> None:
    highs, ends = column([[int(Decimal(units) // HALF) for units, _ in row] for row in rows])
    lows, _ = column([[int(Decimal(units) % HALF) for units, _ in row] for row in rows])
    decimals, _ = column([[scale for _, scale in row] for row in rows])
    expected = ["{" + ",".join(map(text, row)) + "}" for row in rows]
    assert decimal_texts(Halves(highs, lows), decimals, ends) == expected


def text(each: tuple[int, int]) -> str:
    units, scale = each
    return f"{Decimal((units < 0, tuple(map(int, str(abs(units)))), -scale)):f}"


def test_names() -> None:
    codes, ends = column([[1, 0], [], [1]])
    assert name_texts(("a", "b"), codes, ends) == ["{b,a}", "{}", "{b}"]
