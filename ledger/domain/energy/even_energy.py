"""The energy of a counter that ran on, between edges: a compiled loop over both."""

import numpy as np

from ledger.domain.arrays import Ints
from ledger.domain.compiled import compiled


@compiled
def even_energy(at_us: Ints, energy_mj: Ints, marks: Ints) -> Ints:
    """Energy between neighbouring sorted microseconds, metered and estimated, of which there is
    none, and how much of each is known; of readings in order: two or more."""
    upto, known = np.empty(marks.size, np.int64), np.empty(marks.size, np.int64)
    at, last = 0, at_us.size - 1
    for n in range(marks.size):
        while at < last - 1 and at_us[at + 1] <= marks[n]:
            at += 1
        length, grown = at_us[at + 1] - at_us[at], energy_mj[at + 1] - energy_mj[at]
        passed = min(max(marks[n] - at_us[at], 0), length)
        upto[n] = energy_mj[at] + grown * passed // length
        known[n] = min(max(marks[n], at_us[0]), at_us[last])
    between = np.zeros((3, marks.size - 1), np.int64)
    for n in range(marks.size - 1):
        between[0, n], between[2, n] = upto[n + 1] - upto[n], known[n + 1] - known[n]
    return between
