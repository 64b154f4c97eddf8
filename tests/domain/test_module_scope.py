"""Boards whose counters are of a module are told window by window, by the last reading of each."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.energy.even_course import ReadingColumns
from ledger.domain.energy.module_scope import module_boards

READINGS = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 50), st.booleans()), max_size=20)


def columns(said: list[tuple[int, int, bool]]) -> ReadingColumns:
    """Readings of (board, microsecond, module) with nothing else to be told."""
    rows = [(board, at_us, 0, -1, -1, 1, 1, int(module)) for board, at_us, module in said]
    return ReadingColumns(*np.array(rows, np.int64).reshape(-1, 8).T)


@given(READINGS, st.lists(st.integers(0, 60), min_size=1, max_size=5))
def test_a_board_goes_by_its_last_reading_before_an_end_else_by_its_first(
    said: list[tuple[int, int, bool]], ends: list[int]
) -> None:
    told = {(board, at_us): module for board, at_us, module in said}
    found = module_boards(columns([(*key, module) for key, module in told.items()]), sorted(ends))
    for end, boards in zip(sorted(ends), found, strict=True):
        for board in (1, 2, 3):
            moments = sorted(at_us for each, at_us in told if each == board)
            before = [at_us for at_us in moments if at_us < end] or moments[:1]
            assert (board in boards) == any(told[board, at_us] for at_us in before[-1:])


@given(READINGS, st.lists(st.integers(0, 60), min_size=2, max_size=5))
def test_a_window_alone_says_what_it_says_among_others(
    said: list[tuple[int, int, bool]], ends: list[int]
) -> None:
    read = columns(said)
    together = module_boards(read, ends)
    assert together == [module_boards(read, [end])[0] for end in ends]
