"""Numbers and groups of rows are those that a dictionary of their keys would give."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.frames import MANY_ROWS
from ledger.domain.metering.numbering import (
    combined,
    first_rows,
    grouped,
    numbered,
    ranked,
    searched,
)

KEYS = st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 2**62)), max_size=30)


@given(KEYS.flatmap(lambda keys: st.lists(st.sampled_from(keys or [(0, 0)]), max_size=40)))
def test_groups_are_in_the_order_of_their_keys_and_rows_in_theirs(
    rows: list[tuple[int, int]],
) -> None:
    columns = [np.array([row[n] for row in rows], np.int64) for n in (0, 1)]
    groups = grouped(columns)
    distinct = sorted(set(rows))
    order = [n for key in distinct for n, row in enumerate(rows) if row == key]
    assert groups.order.tolist() == order
    assert groups.leads.tolist() == [rows.index(key) for key in distinct]
    values = np.arange(len(rows), dtype=np.int64)
    sums = [sum(n for n, row in enumerate(rows) if row == key) for key in distinct]
    assert groups.sums(values).tolist() == sums


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 2**40])), min_size=1))
def test_combined_numbers_have_no_holes_and_follow_the_columns(rows: list[tuple[int, int]]) -> None:
    columns = [
        (np.array([row[n] for row in rows], np.int64), bound) for n, bound in ((0, 4), (1, 2**41))
    ]
    codes, count = combined(columns, len(rows))
    distinct = sorted(set(rows))
    assert count == len(distinct)
    assert [distinct[code] for code in codes] == rows
    assert first_rows(codes, count).tolist() == [rows.index(key) for key in distinct]


@pytest.mark.parametrize("rows", [60, MANY_ROWS + 200])
def test_rows_are_numbered_by_what_they_say(rows: int) -> None:
    # Some come twice, some are unknown or empty, and some differ in one of their columns.
    names = [("", None)[n % 2] if n % 7 == 0 else f"é{n % (rows - 5)}" for n in range(rows)]
    sources = [None if n % 11 == 0 else f"s{n % 3}" for n in range(rows)]
    frame = pl.DataFrame({"source": sources, "id": names})
    codes, count = numbered(frame)
    assert count == len(set(frame.rows()))
    pairs = set(zip(codes.tolist(), frame.rows(), strict=True))
    assert len(pairs) == count == len({code for code, _ in pairs})
    assert set(codes.tolist()) == set(range(count))


@pytest.mark.parametrize("size", [0, 1, 40, 20_000])
def test_values_are_ranked_and_found_alike_however_many(size: int) -> None:
    draw = np.random.default_rng(size)
    there = np.sort(draw.integers(-(2**63), 2**63 - 1, size // 3 + 1))
    values = there[draw.integers(0, there.size, size)]
    distinct = np.array(sorted(set(values.tolist())), np.int64)
    places, count = ranked(values)
    assert count == distinct.size
    assert (distinct[places] == values).all()
    assert (there[searched(there, values)] == values).all()
    above = np.array([*values, 2**63 - 1], np.int64)
    assert searched(there[:-1], above)[-1] == there.size - 1
