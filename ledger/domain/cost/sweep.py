"""How many attempts run at each moment of a window, engine after engine."""

from typing import NamedTuple

import numpy as np

from ledger.domain.arrays import Ints
from ledger.domain.compiled import compiled
from ledger.domain.digit_order import in_order
from ledger.domain.metering.spread import WINDOW_US

# Parts of a microsecond, so that many may share one.
SHARE_BITS = 16
# Above any moment of a window, in microseconds from its start.
_ENGINE = 1 << 30


class Sweep(NamedTuple):
    """Edges in order, how many run from each on, and how much time was one's who ran all along, and
    how much one's who ran beside them all, up to it."""

    edges: Ints
    running: Ints
    shared: Ints
    beside: Ints

    @classmethod
    def of(cls, engine: Ints, since: Ints, until: Ints, sign: Ints) -> "Sweep":
        """Of attempts from one moment of the window to another."""
        ends = [np.clip(moment, 0, WINDOW_US) for moment in (since, until)]
        marks = np.concatenate([engine * _ENGINE + end for end in ends])
        order = np.argsort(marks, kind="stable")
        edges = np.concatenate([[-1], marks[order]])
        running = np.cumsum(np.concatenate([[0], np.concatenate([sign, -sign])[order]]))
        there = np.maximum(running, 0)
        every = np.diff(edges, append=edges[-1:])
        shares = (every * (there > 0) << SHARE_BITS) // np.maximum(there, 1)
        alone = (every << SHARE_BITS) // (there + 1)
        return cls(edges, there, *(_before(each) for each in (shares, alone)))


def _before(lengths: Ints) -> Ints:
    summed: Ints = np.cumsum(lengths) - lengths
    return summed


_NONE = np.zeros(0, np.int64)
NOBODY_RAN = Sweep.of(_NONE, _NONE, _NONE, _NONE)


def covered_in(engine: Ints, since: Ints, until: Ints, sign: Ints, slot_us: int) -> Ints:
    """How long anything ran in each slot of the window, of all engines added up, of attempts from
    one moment of the window to another."""
    return _covered(in_order(_moved(engine, since, until, sign), 0), slot_us)


@compiled
def _moved(engine: Ints, since: Ints, until: Ints, sign: Ints) -> Ints:
    """Marks of where each begins and ends, which their lowest bits tell: as numbers they are sorted
    soonest."""
    moved = np.empty(2 * engine.size, np.int64)
    for n in range(engine.size):
        begin, end = min(max(since[n], 0), WINDOW_US), min(max(until[n], 0), WINDOW_US)
        moved[2 * n] = (engine[n] * _ENGINE + begin) << 2 | (1 + sign[n])
        moved[2 * n + 1] = (engine[n] * _ENGINE + end) << 2 | (1 - sign[n])
    return moved


@compiled
def _covered(moved: Ints, slot_us: int) -> Ints:
    """Of marks in order, each with one more than it adds to what runs in its two lowest bits."""
    covered, running, since, slot = np.zeros(WINDOW_US // slot_us, np.int64), 0, 0, 0
    for n in range(moved.size):
        mark = moved[n] >> 2
        if running <= 0:
            since = mark % _ENGINE
            slot = since // slot_us
        running += (moved[n] & 3) - 1
        if running > 0:
            continue
        until = mark % _ENGINE
        while since < until:
            end = min((slot + 1) * slot_us, until)
            covered[slot] += end - since
            since, slot = end, slot + 1
    return covered


@compiled
def shared_at(sweep: Sweep, engine: int, moment: int) -> int:
    """The part of time, in 1/65536 µs, of one who ran all along, up to a moment."""
    at, since = _last(sweep, engine, moment)
    running = int(sweep.running[at])
    more = (since << SHARE_BITS) // running if running > 0 else 0
    return int(sweep.shared[at]) + more


@compiled
def beside_at(sweep: Sweep, engine: int, moment: int) -> int:
    """The part of time, in 1/65536 µs, of one who ran beside all of these, up to a moment."""
    at, since = _last(sweep, engine, moment)
    return int(sweep.beside[at]) + (since << SHARE_BITS) // (int(sweep.running[at]) + 1)


@compiled
def _last(sweep: Sweep, engine: int, moment: int) -> tuple[int, int]:
    """The last edge up to a moment, and how long ago it was."""
    mark = engine * _ENGINE + moment
    at = int(np.searchsorted(sweep.edges, mark, side="right")) - 1
    return at, mark - int(sweep.edges[at])
