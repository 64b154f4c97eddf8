"""Weighs what ran on the engines of a deployment, slot by slot of a window.

Invariant: of a slot in which anything ran the parts of those who ran come to WHOLE, but for what is
cut off in division; whatever ran outside of a slot has no part in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import mul
from typing import NamedTuple

import numpy as np
import polars as pl

from ledger.domain.apportion_columns import WideWeights
from ledger.domain.arrays import Bools, Ints
from ledger.domain.cost.attempt_rows import fill_ran
from ledger.domain.cost.attempts import SECOND_US
from ledger.domain.cost.kinds import NONE, Four
from ledger.domain.cost.sweep import NOBODY_RAN, Sweep, covered_in
from ledger.domain.cost.unclaimed import OF_NO_REQUEST
from ledger.domain.cost.weighing import (
    ANSWERED,
    CACHE_READ,
    CACHE_WRITE,
    RAN,
    TOTAL,
    USED,
    WHOLE,
    Cells,
    begun_of,
    count_tokens,
    hold,
    number_keys,
    parts_of_slots,
    spread_steps,
    weigh_cells,
)
from ledger.domain.cost.weights import Weights
from ledger.domain.period import WINDOW_SECONDS
from ledger.wire.input_fields import SLOT_SECONDS

# Whose part is what nobody has: work that weighs nothing.
NOBODY = 0
# Finer than weights, so that little work over much time keeps its weight in each slot: exactly,
# where slots divide the time it ran.
_FINE = 3_600 << 16
_TIMES = slice(RAN.index("start"), RAN.index("end") + 1)
_ENGINE, _START, _READ, _WROTE, _END, _SIGN = (
    RAN.index(name) for name in ("engine", "start", "read", "wrote", "end", "sign")
)
_OUTPUT = RAN.index("output")


@dataclass(frozen=True, slots=True)
class SlotWork:
    """What ran on `engines` in the slots of a window.

    `covered_us` is the time in which each slot's engines ran anything, added up. `keys` are all
    usage keys that ran, in order, and NOBODY; `worked` says which of them had tokens, `cells` what
    each weighs of a slot, by its place. `tokens` are how many of usage were worked on, `kinds` what
    those of each kind weigh of each slot, out of WHOLE.
    """

    slot_s: int
    engines: int
    covered_us: Sequence[int]
    keys: Ints
    worked: Bools
    cells: Cells
    tokens: Four
    kinds: Sequence[Sequence[int]]

    @property
    def full_us(self) -> int:
        """The time of all engines in a slot."""
        return self.slot_s * SECOND_US * self.engines

    @property
    def busy_s(self) -> int:
        """Seconds in which an engine ran something, of them all in the mean."""
        return sum(self.covered_us) // (self.engines * SECOND_US)

    @property
    def used(self) -> Bools:
        """Which of the keys are somebody's."""
        return _used(self.keys)

    @property
    def weighs(self) -> Bools:
        """Which of the keys weigh anything in any slot."""
        weighs = np.zeros(self.keys.size, np.bool_)
        weighs[self.cells.owner] = True
        return weighs

    def slots_of(self, key: int) -> Mapping[int, int]:
        """What a key weighs of each slot, out of WHOLE."""
        own = self.keys[self.cells.owner] == key
        slots, parts = self.cells.slot[own], self.cells.part[own]
        return dict(zip(slots.tolist(), parts.tolist(), strict=True))

    def weigh_by(self, pools: Sequence[int]) -> WideWeights:
        """What each key weighs where slots hold so much; NOBODY's is of work without weight."""
        held, cells = np.array(pools, np.int64), self.cells
        words = hold(cells.owner, cells.slot, cells.part, held, self.keys.size)
        return WideWeights(*words)

    def kinds_by(self, pools: Sequence[int]) -> list[int]:
        """What tokens of each kind of usage weigh where slots hold so much, in the order of
        WORK."""
        return [sum(map(mul, column, pools)) for column in self.kinds]


def idle() -> SlotWork:
    """A window in which nothing ran: one slot holds it all."""
    none, sums = np.zeros(0, np.int64), np.zeros((5, 1), np.int64)
    nobody, worked = np.array([NOBODY]), np.zeros(1, np.bool_)
    cells = Cells(none, none, none, sums)
    return SlotWork(WINDOW_SECONDS, 1, [0], nobody, worked, cells, NONE, _kinds(sums))


class Ran(NamedTuple):
    """What ran in a window: attempts as rows of RAN, and the usage key of each."""

    rows: Ints
    keys: Ints

    def ordered(self) -> "Ran":
        """In the order of their usage keys."""
        if (self.keys[1:] >= self.keys[:-1]).all():
            return self
        order = np.argsort(self.keys, kind="stable")
        return Ran(self.rows[:, order], self.keys[order])

    @classmethod
    def of(cls, rows: Ints, engines: Sequence[Sequence[Ints]], window_us: int) -> "Ran":
        """Of rows of attempts by their numbers, engine by engine."""
        at = np.concatenate([numbers for of_engine in engines for numbers in of_engine])
        ran = np.empty((len(RAN), at.size), np.int64)
        sizes = [sum(numbers.size for numbers in of_engine) for of_engine in engines]
        ran[_ENGINE] = np.repeat(np.arange(len(engines)), sizes)
        return cls(ran, fill_ran(rows, at, window_us, ran[1:]))

    @classmethod
    def of_frame(cls, attempts: pl.DataFrame, window_us: int) -> "Ran":
        """Of a frame as `attempts.ATTEMPT` has it and `engine`, the number of the engine."""
        ran = np.empty((len(RAN), attempts.height), np.int64)
        if attempts.is_empty():
            return cls(ran, ran[_ENGINE])
        for row, name in zip(ran, RAN, strict=True):
            row[:] = attempts[name].to_numpy()
        ran[_TIMES] -= window_us
        return cls(ran, attempts["usage_key_id"].to_numpy())


def weigh(
    what: Ran,
    weights: Weights,
    *,
    engines: int = 1,
    slot_s: int = SLOT_SECONDS,
    chunk: int | None = None,
) -> SlotWork:
    """The work of attempts on so many engines; a step reads `chunk` tokens of a prompt at most,
    None: all of them."""
    if not what.keys.size:
        return idle()
    ran, named = what.ordered()
    slot_us = slot_s * SECOND_US
    covered = covered_in(ran[_ENGINE], ran[_START], ran[_END], ran[_SIGN], slot_us)
    keys, owners = number_keys(named, NOBODY)
    used = _used(keys)
    writing = _writing(ran) if weights.step else NOBODY_RAN
    cells = weigh_cells(ran, owners, used, _fine(weights), slot_us, writing, chunk or 0)
    meters, (high, low) = count_tokens(ran, owners, used)
    uncached, cache_read, cache_write, output = (
        max((above << 32) + below, 0) for above, below in meters.T.tolist()
    )
    return SlotWork(
        slot_s,
        engines,
        covered.tolist(),
        keys,
        (high + (low >> 32) != 0) | (low & 0xFFFFFFFF != 0),
        _with_nobody(cells, covered, int(np.searchsorted(keys, NOBODY))),
        (uncached, cache_read, cache_write, output),
        _kinds(cells.sums),
    )


def steps_between(
    attempts: pl.DataFrame, window_us: int, marks: Sequence[int], chunk: int | None
) -> list[tuple[int, int]]:
    """About how many steps those who wrote, and those who read their prompt, took part in between
    each two of `marks`, moments of the window that begins at `window_us`: a token each a step, and
    who took part together shared them. A step reads `chunk` tokens of a prompt at most."""
    ran = Ran.of_frame(attempts, window_us).rows
    begun, edges = begun_of(ran, chunk or 0), np.array(marks, np.int64) - window_us
    written, writing = np.maximum(ran[_OUTPUT] - np.minimum(begun, 1), 0), _writing(ran)
    wrote = spread_steps(ran, written, (_WROTE, _END), edges, writing, beside=False)
    read = spread_steps(ran, begun, (_START, _READ), edges, writing, beside=True)
    return list(zip(wrote.tolist(), read.tolist(), strict=True))


def _used(keys: Ints) -> Bools:
    used: Bools = (keys != NOBODY) & (keys != OF_NO_REQUEST)
    return used


def _kinds(sums: Ints) -> list[list[int]]:
    """What tokens of each kind weigh of each slot, out of WHOLE, in the order of WORK."""
    cached, answered, total = sums[[CACHE_READ, CACHE_WRITE]], sums[ANSWERED], sums[TOTAL]
    weighed = np.stack([sums[USED] - cached.sum(axis=0) - answered, *cached, answered])
    if (weighed <= total).all():
        kinds: list[list[int]] = parts_of_slots(weighed, total).tolist()
        return kinds
    # Of what was taken back one kind may be more than all.
    totals = total.tolist()
    return [
        [part * WHOLE // whole if part > 0 else 0 for part, whole in zip(kind, totals, strict=True)]
        for kind in weighed.tolist()
    ]


def _writing(ran: Ints) -> Sweep:
    return Sweep.of(ran[_ENGINE], ran[_WROTE], ran[_END], ran[_SIGN])


def _fine(weights: Weights) -> Ints:
    coarse = (weights.uncached, weights.cache_read, weights.cache_write, weights.output)
    return np.array([*coarse, weights.context, weights.step], np.int64) * _FINE


def _with_nobody(cells: Cells, covered: Ints, nobody: int) -> Cells:
    """With what ran and weighs nothing, of which all of its slots are."""
    lost = np.flatnonzero((covered > 0) & (cells.sums[TOTAL] == 0))
    if not lost.size:
        return cells
    return Cells(
        np.append(cells.owner, np.full(lost.size, nobody)),
        np.append(cells.slot, lost),
        np.append(cells.part, np.full(lost.size, WHOLE)),
        cells.sums,
    )
