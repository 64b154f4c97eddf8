"""Rows of words are found again under the number they were kept with, and no others are."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.metering.word_table import UNMET, Words, WordTable

ROWS = st.tuples(st.sampled_from([0, 1, 7, 2**64 - 1]), st.integers(0, 3), st.integers(0, 2))


def words(rows: list[tuple[int, int, int]]) -> Words:
    return np.array(rows, np.uint64).reshape(-1, 3)


@given(batches=st.lists(st.lists(ROWS, unique=True), max_size=6), asked=st.lists(ROWS))
def test_what_was_kept_is_found(
    batches: list[list[tuple[int, int, int]]], asked: list[tuple[int, int, int]]
) -> None:
    table, kept = WordTable(), dict[tuple[int, int, int], int]()
    for batch in batches:
        fresh = [row for row in batch if row not in kept]
        kept |= {row: len(kept) + n for n, row in enumerate(fresh)}
        table.add(words(fresh), np.array([kept[row] for row in fresh], np.int64))
    assert table.find(words(asked)).tolist() == [kept.get(row, UNMET) for row in asked]


def test_a_code_that_is_taken_is_met_anew() -> None:
    # Both come to one code: the first word times the mix makes the second of the other.
    mix = 0x9E3779B97F4A7C15
    one, other = (1, 0), (0, mix)
    table = WordTable()
    table.add(np.array([one], np.uint64), np.array([5]))
    table.add(np.array([other], np.uint64), np.array([6]))
    assert table.find(np.array([one, other], np.uint64)).tolist() == [5, UNMET]
