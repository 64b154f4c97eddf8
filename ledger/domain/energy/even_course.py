"""Finds the boards whose counters simply ran on, from readings of many boards as columns.

Invariant: what is found comes to the same spans as `meter.spans` makes of those readings; of a
board with anything more to be said nothing is found.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ledger.domain.arrays import Ints
from ledger.domain.energy.even_readings import are_in_order, find_even
from ledger.domain.energy.meter import EvenSpans

EvenBoards: TypeAlias = Mapping[int, EvenSpans]


@dataclass(frozen=True, slots=True)
class ReadingColumns:
    """Readings of numbered boards in any order, of microseconds, mJ and mW; what is unknown is
    negative. `stream` is alike where a counter is read by one reader in one life; `good` is 1, and
    `module` where the counter covers CPU and memory too."""

    board: Ints
    at_us: Ints
    energy_mj: Ints
    power_mw: Ints
    monotonic_us: Ints
    stream: Ints
    good: Ints
    module: Ints

    def ordered(self) -> "ReadingColumns":
        """By board, time and counter: most come in the order of their times."""
        if are_in_order(self.board, self.at_us, self.energy_mj):
            return self
        by_board = self._taken(np.argsort(self.board.astype(_narrowest(self.board)), kind="stable"))
        if are_in_order(by_board.board, by_board.at_us, by_board.energy_mj):
            return by_board
        return self._taken(np.lexsort((self.energy_mj, self.at_us, self.board)))

    def _taken(self, rows: Ints) -> "ReadingColumns":
        return ReadingColumns(*(getattr(self, name)[rows] for name in self.__slots__))


def even_boards(readings: ReadingColumns) -> EvenBoards:
    """The boards whose readings run on, by their number."""
    if not readings.board.size:
        return {}
    read = readings.ordered()
    columns = (getattr(read, name) for name in ReadingColumns.__slots__[:-1])
    return {
        int(read.board[begin]): _even(read.at_us[begin:end], read.energy_mj[begin:end])
        for begin, end in find_even(*columns).tolist()
    }


def _even(at_us: Ints, energy_mj: Ints) -> EvenSpans:
    """From step to step of the counter, and from reading to reading behind its last."""
    begins = np.append(True, energy_mj[1:] != energy_mj[:-1])
    if begins.all():
        return EvenSpans(at_us, energy_mj)
    begins[np.flatnonzero(begins)[-1] :] = True
    return EvenSpans(at_us[begins], energy_mj[begins])


def _narrowest(numbers: Ints) -> "np.dtype[np.integer]":
    """Narrow numbers are sorted by their digits, in no time."""
    return np.min_scalar_type(int(numbers.max()))
