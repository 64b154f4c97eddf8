"""Loops over readings of boards in order, compiled: whether each continues the one before it."""

from datetime import timedelta

import numpy as np

from ledger.domain.arrays import Ints
from ledger.domain.compiled import compiled
from ledger.domain.energy.counter_course import COUNTER_STEP_US, POWER_LIMIT_MW, STEP_US
from ledger.domain.energy.meter import (
    MAX_GAP,
    POWER_CHECK_FROM,
    POWER_FACTOR,
    POWER_FLOOR_MW,
    WHOLE_FROM,
    WHOLE_READINGS,
)
from ledger.domain.period import MICROSECOND

SECOND_US = 1_000_000
_GAP_US = MAX_GAP // MICROSECOND
_WHOLE_S = WHOLE_FROM // timedelta(seconds=1)
_CHECK_FROM_US = POWER_CHECK_FROM // MICROSECOND
# Power beyond this times a gap in microseconds takes more than 64 bits; no board draws so much.
_POWER_MOST_MW = 1 << 31


@compiled
def are_in_order(board: Ints, at_us: Ints, energy_mj: Ints) -> bool:
    """Whether readings are by board, time and counter."""
    for n in range(1, board.size):
        if board[n] > board[n - 1]:
            continue
        later = at_us[n] > at_us[n - 1] or (
            at_us[n] == at_us[n - 1] and energy_mj[n] >= energy_mj[n - 1]
        )
        if board[n] < board[n - 1] or not later:
            return False
    return True


@compiled
def find_even(
    board: Ints,
    at_us: Ints,
    energy_mj: Ints,
    power_mw: Ints,
    monotonic_us: Ints,
    stream: Ints,
    good: Ints,
) -> Ints:
    """From where to where the readings of each board lie that runs on; of readings in order."""
    even, count, begin = np.empty((board.size, 2), np.int64), 0, 0
    while begin < board.size:
        end, still_since, is_even = begin + 1, begin, True
        low, high = power_mw[begin], power_mw[begin]
        while end < board.size and board[end] == board[begin]:
            if is_even:
                took, grown = at_us[end] - at_us[end - 1], energy_mj[end] - energy_mj[end - 1]
                shown_us = at_us[end] - at_us[still_since]
                low, high = min(low, power_mw[end]), max(high, power_mw[end])
                is_even = _runs_on(took, grown, shown_us, low, high)
                if grown:
                    still_since, low, high = end, power_mw[end], power_mw[end]
                is_even = (
                    is_even
                    and _clocks_agree(took, monotonic_us[end - 1], monotonic_us[end])
                    and stream[end] == stream[end - 1]
                    and good[end] == 1
                    and good[end - 1] == 1
                    and shown_us <= _GAP_US
                )
            end += 1
        took, grown = at_us[end - 1] - at_us[begin], energy_mj[end - 1] - energy_mj[begin]
        if is_even and end - begin > 1 and not _is_doubtful(took, grown, power_mw[begin:end]):
            even[count, 0], even[count, 1] = begin, end
            count += 1
        begin = end
    return even[:count].copy()


@compiled
def _runs_on(took: int, grown: int, shown_us: int, low: int, high: int) -> bool:
    """Whether a counter may have grown so much since it began to show what it showed before, by
    what any board draws, and by what its own said it draws, from `low` to `high`."""
    if not 0 < took <= _GAP_US or grown < 0:
        return False
    if grown > POWER_LIMIT_MW * (shown_us + COUNTER_STEP_US) * 11 // 10_000_000:
        return False
    if high >= _POWER_MOST_MW:
        return False
    if not grown or shown_us <= _CHECK_FROM_US:
        return True
    if grown * SECOND_US < POWER_FLOOR_MW * shown_us:
        return False
    least, most = low * shown_us // SECOND_US, high * shown_us // SECOND_US
    far = grown * POWER_FACTOR < least or grown > most * POWER_FACTOR
    return not (low >= 0 and most > 0 and far)


@compiled
def _clocks_agree(took: int, before: int, after: int) -> bool:
    if before < 0 or after < 0:
        return before < 0 and after < 0
    return after > before and abs(took - (after - before)) <= STEP_US


@compiled
def _is_doubtful(took_us: int, grown: int, power_mw: Ints) -> bool:
    """Whether a counter is far from all that its board said it draws."""
    took_s, least, most = took_us // SECOND_US, power_mw.min(), power_mw.max()
    if power_mw.size < WHOLE_READINGS or took_s < _WHOLE_S or least < 0:
        return False
    mean_mw, most = grown // max(took_s, 1), min(most, _POWER_MOST_MW)
    return bool(mean_mw * 3 < least * 2 or (most > 0 and mean_mw * 2 > most * 3))
