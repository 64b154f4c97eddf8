"""Turns what facts say of their times into when each ran, and says which ran inside its window."""

import numpy as np

from ledger.domain.arrays import Bools, Ints
from ledger.domain.compiled import compiled
from ledger.domain.period import WINDOW_SECONDS

# What stands for a time that nobody knows.
UNKNOWN = int(np.iinfo(np.int64).min)
_WINDOW_US = WINDOW_SECONDS * 1_000_000


def find_spans(times: Ints, started: Ints, ended: Ints) -> tuple[Ints, Ints, Bools]:
    """When each began and ended, and whether all of it lies in the window of its time.

    Where nobody knows when it began, it began and ended at its time.
    """
    starts, ends = np.empty_like(times), np.empty_like(times)
    inside = np.empty(times.size, np.bool_)
    _find_spans(times, started, ended, starts, ends, inside)
    return starts, ends, inside


@compiled
def _find_spans(
    times: Ints, started: Ints, ended: Ints, starts: Ints, ends: Ints, inside: Bools
) -> None:
    for n in range(times.size):
        time = times[n]
        start, end = time, time
        if started[n] != UNKNOWN:
            start = started[n]
            if ended[n] != UNKNOWN:
                end = ended[n]
        starts[n], ends[n] = start, end
        inside[n] = time // _WINDOW_US * _WINDOW_US <= start <= end <= time
