"""Finds the boards whose counters simply ran on, from readings of many boards as columns.

Invariant: what is found comes to the same spans as `meter.spans` makes of those readings; of a
board with anything more to be said nothing is found.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias

import numpy as np

from ledger.domain.arrays import Bools, Ints
from ledger.domain.energy.counter_course import COUNTER_STEP_US, POWER_LIMIT_MW, STEP_US
from ledger.domain.energy.meter import (
    MAX_GAP,
    POWER_CHECK_FROM,
    POWER_FACTOR,
    POWER_FLOOR_MW,
    WHOLE_FROM,
    WHOLE_READINGS,
    EvenSpans,
)
from ledger.domain.period import MICROSECOND

SECOND_US = 1_000_000
_GAP_US = MAX_GAP // MICROSECOND
_WHOLE_S = WHOLE_FROM // timedelta(seconds=1)
_CHECK_FROM_US = POWER_CHECK_FROM // MICROSECOND
# Power beyond this times a gap in microseconds takes more than 64 bits; no board draws so much.
_POWER_MOST_MW = 1 << 31
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
        """By board, time and counter."""
        order = np.lexsort((self.energy_mj, self.at_us, self.board))
        return ReadingColumns(*(getattr(self, name)[order] for name in self.__slots__))


def even_boards(readings: ReadingColumns) -> EvenBoards:
    """The boards whose readings run on, by their number."""
    if not readings.board.size:
        return {}
    read = readings.ordered()
    wrong = ~_runs_on(read) | _stands_still(read)
    first = np.flatnonzero(np.diff(read.board, prepend=read.board[0] - 1))
    ends = np.append(first[1:], read.board.size)
    odd = np.add.reduceat(wrong, first, dtype=np.int64) + _is_doubtful(read, first, ends)
    return {
        int(read.board[begin]): EvenSpans(read.at_us[begin:end], read.energy_mj[begin:end])
        for begin, end, faults in zip(first.tolist(), ends.tolist(), odd.tolist(), strict=True)
        if not faults and end - begin > 1
    }


def _runs_on(read: ReadingColumns) -> Bools:
    """Whether each reading continues the one before it, if that is of its board."""
    took, grown = np.diff(read.at_us), np.diff(read.energy_mj)
    most = POWER_LIMIT_MW * (np.clip(took, 0, _GAP_US) + COUNTER_STEP_US) * 11 // 10_000_000
    fine = (took > 0) & (took <= _GAP_US) & (grown >= 0) & (grown <= most)
    fine &= (np.diff(read.stream) == 0) & (np.minimum(read.good[1:], read.good[:-1]) == 1)
    fine &= _clocks_agree(read, took) & _power_agrees(read, took, grown)
    fine |= np.diff(read.board) != 0
    return np.append(True, fine)


def _clocks_agree(read: ReadingColumns, took: Ints) -> Bools:
    known = read.monotonic_us >= 0
    ran = np.diff(read.monotonic_us)
    agree: Bools = (ran > 0) & (np.abs(took - ran) <= STEP_US)
    return np.where(known[1:] & known[:-1], agree, known[1:] == known[:-1])


def _power_agrees(read: ReadingColumns, took: Ints, grown: Ints) -> Bools:
    """Whether neither what the board said it draws nor what any board draws is far from it."""
    took = np.clip(took, 0, _GAP_US)
    checked = (took > _CHECK_FROM_US) & (grown > 0)
    known = read.power_mw >= 0
    sure = read.power_mw < _POWER_MOST_MW
    power = np.where(known & sure, read.power_mw, 0)
    least, most = (
        pick(power[1:], power[:-1]) * took // SECOND_US for pick in (np.minimum, np.maximum)
    )
    short = np.clip(grown, 0, least + 1) * POWER_FACTOR < least
    far = (short | (grown > most * POWER_FACTOR)) & (most > 0) & known[1:] & known[:-1]
    slow = np.clip(grown, 0, _GAP_US) * SECOND_US < POWER_FLOOR_MW * took
    agrees: Bools = sure[1:] & sure[:-1] & ~(checked & (far | slow))
    return agrees


def _is_doubtful(read: ReadingColumns, first: Ints, ends: Ints) -> Bools:
    """Whether the counter of each board is far from all that the board said it draws."""
    took_us, grown = (column[ends - 1] - column[first] for column in (read.at_us, read.energy_mj))
    took_s = took_us // SECOND_US
    least, most = (pick.reduceat(read.power_mw, first) for pick in (np.minimum, np.maximum))
    long = (ends - first >= WHOLE_READINGS) & (took_s >= _WHOLE_S)
    mean_mw = grown // np.maximum(took_s, 1)
    most = np.minimum(most, _POWER_MOST_MW)
    far = (mean_mw * 3 < least * 2) | ((most > 0) & (mean_mw * 2 > most * 3))
    doubtful: Bools = long & (least >= 0) & far
    return doubtful


def _stands_still(read: ReadingColumns) -> Bools:
    """Whether a counter shows what it showed longer than a gap ago."""
    moved = (np.diff(read.energy_mj, prepend=-1) != 0) | (np.diff(read.board, prepend=-1) != 0)
    since = np.maximum.accumulate(np.where(moved, np.arange(moved.size), 0))
    still: Bools = read.at_us - read.at_us[since] > _GAP_US
    return still
