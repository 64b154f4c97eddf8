"""Which boards have counters that cover CPU and memory too: beside them no host energy is added.

Invariant: what holds of a window follows from the last reading before its end, so that a window
allocated alone, or among others, comes to the same.
"""

from collections.abc import Sequence

import numpy as np

from ledger.domain.energy.even_course import ReadingColumns


def module_boards(readings: ReadingColumns, ends_us: Sequence[int]) -> list[frozenset[int]]:
    """The boards, by number, whose counters are of a module, up to each of these microseconds.

    A board that was not read before one goes by its first reading after.
    """
    by_end: list[set[int]] = [set() for _ in ends_us]
    for board in np.unique(readings.board[readings.module == 1]).tolist():
        own = readings.board == board
        order = np.argsort(readings.at_us[own], kind="stable")
        at_us, module = readings.at_us[own][order], readings.module[own][order]
        last = np.maximum(np.searchsorted(at_us, ends_us, side="left") - 1, 0)
        for boards, is_module in zip(by_end, module[last].tolist(), strict=True):
            if is_module:
                boards.add(board)
    return [frozenset(boards) for boards in by_end]
