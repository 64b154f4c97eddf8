"""Weighs what ran on the engines of a deployment, slot by slot of a window.

Invariant: of a slot in which anything ran the parts of those who ran come to WHOLE, but for what is
cut off in division; whatever ran outside of a slot has no part in it. Whole numbers only: products
of tokens, weights and microseconds take 128 bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ledger.domain.arrays import Ints
from ledger.domain.cost.attempts import SECOND_US
from ledger.domain.cost.weights import Weights
from ledger.domain.metering.spread import WINDOW_US, reached
from ledger.domain.period import WINDOW_SECONDS
from ledger.wire.input_fields import SLOT_SECONDS

# All of a slot.
WHOLE = 1 << 62
# Whose part is what nobody has: work that weighs nothing.
NOBODY = 0
# Finer than weights, so that little work over much time keeps its weight in each slot: exactly,
# where slots divide the time it ran.
_FINE = 3_600 << 16
# Parts of a microsecond, so that many may share one.
_SHARE_BITS = 16
# Above any moment of a window, in microseconds from its start.
_ENGINE = 1 << 30
# Of an attempt: two million of them times WHOLE stay below 128 bits.
_WEIGHT_BITS = 44
_PART = {"slot": pl.Int64, "usage_key_id": pl.Int64, "part": pl.Int128}


@dataclass(frozen=True, slots=True)
class SlotWork:
    """What ran on `engines` in the slots of a window.

    `covered_us` is the time in which each slot's engines ran anything, added up; `parts` has what
    each usage key weighs of a slot, out of WHOLE, and `keys` are all that had tokens.
    """

    slot_s: int
    engines: int
    covered_us: Sequence[int]
    keys: Sequence[int]
    parts: pl.DataFrame

    @property
    def full_us(self) -> int:
        """The time of all engines in a slot."""
        return self.slot_s * SECOND_US * self.engines

    @property
    def busy_s(self) -> int:
        """Seconds in which an engine ran something, of them all in the mean."""
        return sum(self.covered_us) // (self.engines * SECOND_US)

    def weigh_by(self, pools: Sequence[int]) -> pl.DataFrame:
        """What each key weighs where slots hold so much, by key; NOBODY's is of work without
        weight."""
        pool = pl.Series("pool", pools, pl.Int128).gather(self.parts["slot"])
        held = self.parts.select("usage_key_id", weight=pl.col("part") * pool)
        return held.group_by("usage_key_id").agg(pl.col("weight").sum()).sort("usage_key_id")


def idle() -> SlotWork:
    """A window in which nothing ran: one slot holds it all."""
    return SlotWork(WINDOW_SECONDS, 1, [0], [], pl.DataFrame(schema=_PART))


def weigh(
    attempts: pl.DataFrame,
    window_us: int,
    weights: Weights,
    *,
    engines: int = 1,
    slot_s: int = SLOT_SECONDS,
) -> SlotWork:
    """The work of attempts that run in the window that begins at `window_us`.

    A frame as `attempts.ATTEMPT` has it and `engine`, the number of the engine below `engines`.
    """
    if attempts.is_empty():
        return idle()
    slot_us = slot_s * SECOND_US
    times = [pl.col(name) - window_us for name in ("start", "read", "wrote", "end")]
    placed = attempts.with_columns(times)
    running = _Sweep.of(placed, "start")
    edges = np.arange(0, WINDOW_US + 1, slot_us)
    covered = np.zeros(edges.size - 1, np.int64)
    for engine in range(engines):
        covered += np.diff(running.covered_at(np.full(edges.size, engine), edges))
    weighed = _weighed(placed, weights, slot_us)
    counted = pl.sum_horizontal("uncached", "cache_read", "cache_write", "output")
    tokens = counted.cast(pl.Int128) * pl.col("sign")
    summed = placed.group_by("usage_key_id").agg(tokens.sum().alias("tokens"))
    keys = summed.filter(pl.col("tokens") != 0)["usage_key_id"].sort()
    parts = pl.concat([_parts(weighed), _of_nobody(weighed, covered)])
    return SlotWork(slot_s, engines, covered.tolist(), keys.to_list(), parts)


def steps_between(attempts: pl.DataFrame, window_us: int, marks: Sequence[int]) -> list[int]:
    """About how many steps those who wrote took part in between each two of `marks`, moments of the
    window that begins at `window_us`: a token each a step, and who wrote together shared them."""
    times = [pl.col(name) - window_us for name in ("start", "read", "wrote", "end")]
    placed = attempts.with_columns(times)
    edges = np.array(marks, np.int64) - window_us
    wrote, end = (
        np.clip(placed[name].to_numpy(), edges[0], edges[-1]) for name in ("wrote", "end")
    )
    first = np.searchsorted(edges, wrote, side="right") - 1
    final = np.searchsorted(edges, end, side="left") - 1
    last = edges.size - 2
    rows, cells = reached(np.clip(first, 0, last), np.clip(final, 0, last))
    writing, engine = _Sweep.of(placed, "wrote"), placed["engine"].to_numpy()[rows]
    shared = [
        writing.shared_at(engine, np.clip(moment, wrote[rows], end[rows]))
        for moment in (edges[cells], edges[cells + 1])
    ]
    moved = placed[rows].select(
        cell=pl.Series(cells),
        steps=(pl.col("output") * pl.col("sign")).cast(pl.Int128)
        * pl.Series(shared[1] - shared[0])
        // ((pl.col("end") - pl.col("wrote")) * _wide(1 << _SHARE_BITS)),
    )
    summed = dict(moved.group_by("cell").agg(pl.col("steps").sum()).iter_rows())
    return [max(summed.get(at, 0), 0) for at in range(edges.size - 1)]


@dataclass(frozen=True, slots=True)
class _Sweep:
    """How many run at each moment, engine after engine: edges in order, how many run from each on,
    and how much time was covered, and how much was one's who ran all along, up to it."""

    edges: Ints
    running: Ints
    covered: Ints
    shared: Ints

    @classmethod
    def of(cls, attempts: pl.DataFrame, since: str) -> "_Sweep":
        engine, sign = attempts["engine"].to_numpy(), attempts["sign"].to_numpy()
        ends = [np.clip(attempts[name].to_numpy(), 0, WINDOW_US) for name in (since, "end")]
        marks = np.concatenate([engine * _ENGINE + end for end in ends])
        order = np.argsort(marks, kind="stable")
        edges = np.concatenate([[-1], marks[order]])
        running = np.cumsum(np.concatenate([[0], np.concatenate([sign, -sign])[order]]))
        there = np.maximum(running, 0)
        lengths = np.diff(edges, append=edges[-1:]) * (there > 0)
        shares = (lengths << _SHARE_BITS) // np.maximum(there, 1)
        return cls(edges, there, _before(lengths), _before(shares))

    def covered_at(self, engine: Ints, moment: Ints) -> Ints:
        """Time in which anything ran, up to a moment."""
        at, since = self._last(engine, moment)
        covered: Ints = self.covered[at] + since * (self.running[at] > 0)
        return covered

    def shared_at(self, engine: Ints, moment: Ints) -> Ints:
        """The part of time, in 1/65536 µs, of one who ran all along, up to a moment."""
        at, since = self._last(engine, moment)
        running = self.running[at]
        more = (since * (running > 0) << _SHARE_BITS) // np.maximum(running, 1)
        shared: Ints = self.shared[at] + more
        return shared

    def _last(self, engine: Ints, moment: Ints) -> tuple[Ints, Ints]:
        mark = engine * _ENGINE + moment
        at = np.searchsorted(self.edges, mark, side="right") - 1
        return at, mark - self.edges[at]


def _before(lengths: Ints) -> Ints:
    summed: Ints = np.cumsum(lengths) - lengths
    return summed


def _weighed(attempts: pl.DataFrame, weights: Weights, slot_us: int) -> pl.DataFrame:
    """What each usage key weighs in each slot in which it ran."""
    start, end = (np.clip(attempts[name].to_numpy(), 0, WINDOW_US) for name in ("start", "end"))
    rows, slots = reached(start // slot_us, (end - 1) // slot_us)
    wrote = attempts["wrote"].to_numpy()[rows]
    since = np.maximum(slots * slot_us, start[rows])
    until = np.minimum((slots + 1) * slot_us, end[rows])
    writing, engine = _Sweep.of(attempts, "wrote"), attempts["engine"].to_numpy()[rows]
    shared = [
        writing.shared_at(engine, np.maximum(moment, np.clip(wrote, 0, WINDOW_US)))
        for moment in (since, until)
    ]
    whole = _whole(attempts, weights)
    moved = whole[rows].with_columns(
        pl.Series("slot", slots),
        pl.Series("since", since),
        pl.Series("until", until),
        pl.Series("shared", shared[1] - shared[0]),
    )
    length = (pl.col("end") - pl.col("wrote")) * _wide(1 << _SHARE_BITS)
    weight = _cut("asked", "start", "read") + _cut("written", "wrote", "end")
    weight += pl.col("stepped") * pl.col("shared") // length
    return moved.group_by("slot", "usage_key_id").agg(weight=(weight * pl.col("sign")).sum())


def _whole(attempts: pl.DataFrame, weights: Weights) -> pl.DataFrame:
    """What each attempt weighs in all: for what it asked and wrote, and the steps it was in."""

    def of(name: str, weight: int) -> pl.Expr:
        return pl.col(name) * _wide(weight * _FINE)

    legs = attempts.with_columns(
        asked=of("uncached", weights.uncached)
        + of("cache_read", weights.cache_read)
        + of("cache_write", weights.cache_write),
        written=of("output", weights.output)
        + of("output", weights.context) * pl.col("context") // 1_000,
        stepped=of("output", weights.step),
    )
    names = ("asked", "written", "stepped")
    most: int = legs.select(pl.max_horizontal(names).max()).item()
    coarser = 1 << max(most.bit_length() - _WEIGHT_BITS, 0)
    return legs.with_columns(pl.col(name) // _wide(coarser) for name in names)


def _wide(number: int) -> pl.Expr:
    """A number of 128 bits, as what it is multiplied with becomes."""
    return pl.lit(number, pl.Int128)


def _cut(name: str, since: str, until: str) -> pl.Expr:
    """What lies in the slot of what is spread evenly between two moments."""
    first, length = pl.col(since), pl.col(until) - pl.col(since)
    at = [(pl.col(edge).clip(since, until) - first) for edge in ("until", "since")]
    upto = [pl.col(name) * edge // length for edge in at]
    return upto[0] - upto[1]


def _parts(weighed: pl.DataFrame) -> pl.DataFrame:
    heavy = weighed.filter(pl.col("weight") > 0)
    total = pl.col("weight").sum().over("slot")
    return heavy.select("slot", "usage_key_id", part=pl.col("weight") * _wide(WHOLE) // total)


def _of_nobody(weighed: pl.DataFrame, covered: Ints) -> pl.DataFrame:
    heavy = weighed.filter(pl.col("weight") > 0)["slot"].to_numpy()
    lost = np.setdiff1d(np.flatnonzero(covered), heavy)
    nobody = {"usage_key_id": np.full(lost.size, NOBODY), "part": np.full(lost.size, WHOLE)}
    return pl.DataFrame({"slot": lost, **nobody}, _PART)
