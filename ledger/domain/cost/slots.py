"""Weighs what ran on the engines of a deployment, slot by slot of a window.

Invariant: of a slot in which anything ran the parts of those who ran come to WHOLE, but for what is
cut off in division; whatever ran outside of a slot has no part in it. Whole numbers only: products
of tokens, weights and microseconds take 128 bits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ledger.domain.arrays import Ints
from ledger.domain.cost.attempts import SECOND_US
from ledger.domain.cost.kinds import NONE, Four
from ledger.domain.cost.unclaimed import OF_NO_REQUEST
from ledger.domain.cost.weights import Weights
from ledger.domain.metering.spread import INPUT_METERS, WINDOW_US, WORK, reached
from ledger.domain.period import WINDOW_SECONDS
from ledger.wire.input_fields import SLOT_SECONDS

# All of a slot.
WHOLE = 1 << 62
# Whose part is what nobody has: work that weighs nothing.
NOBODY = 0
# What is somebody's.
OF_USAGE = ~pl.col("usage_key_id").is_in((NOBODY, OF_NO_REQUEST))
# Finer than weights, so that little work over much time keeps its weight in each slot: exactly,
# where slots divide the time it ran.
_FINE = 3_600 << 16
# Parts of a microsecond, so that many may share one.
_SHARE_BITS = 16
_CACHED = ("cache_read", "cache_write")
# What is not of these is uncached.
_SPLIT = (*_CACHED, "output")
# Above any moment of a window, in microseconds from its start.
_ENGINE = 1 << 30
# Of an attempt: two million of them times WHOLE stay below 128 bits.
_WEIGHT_BITS = 44
_PART = {"slot": pl.Int64, "usage_key_id": pl.Int64, "part": pl.Int128}
_KIND = {"slot": pl.Int64, **dict.fromkeys(WORK, pl.Int128)}


@dataclass(frozen=True, slots=True)
class SlotWork:
    """What ran on `engines` in the slots of a window.

    `covered_us` is the time in which each slot's engines ran anything, added up; `parts` has what
    each usage key weighs of a slot, out of WHOLE, and `keys` are all that had tokens. `kinds` has
    what tokens of each kind weigh of it, and `tokens` are how many of usage were worked on.
    """

    slot_s: int
    engines: int
    covered_us: Sequence[int]
    keys: Sequence[int]
    parts: pl.DataFrame
    kinds: pl.DataFrame
    tokens: Four

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

    def kinds_by(self, pools: Sequence[int]) -> list[int]:
        """What tokens of each kind of usage weigh where slots hold so much, in the order of
        WORK."""
        pool = pl.Series("pool", pools, pl.Int128).gather(self.kinds["slot"])
        held = self.kinds.select((pl.col(name) * pool).sum() for name in WORK)
        return [int(weight) for weight in held.row(0)]


def idle() -> SlotWork:
    """A window in which nothing ran: one slot holds it all."""
    parts, kinds = pl.DataFrame(schema=_PART), pl.DataFrame(schema=_KIND)
    return SlotWork(WINDOW_SECONDS, 1, [0], [], parts, kinds, NONE)


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
    heavy = weighed.filter(pl.col("weight") > 0)
    parts = pl.concat([_parts(heavy), _of_nobody(heavy, covered)])
    worked = (_kinds(heavy), _tokens(placed))
    return SlotWork(slot_s, engines, covered.tolist(), keys.to_list(), parts, *worked)


def steps_between(
    attempts: pl.DataFrame, window_us: int, marks: Sequence[int]
) -> list[tuple[int, int]]:
    """About how many steps those who wrote, and those who read their prompt, took part in between
    each two of `marks`, moments of the window that begins at `window_us`: a token each a step, and
    who took part together shared them."""
    times = [pl.col(name) - window_us for name in ("start", "read", "wrote", "end")]
    placed = attempts.with_columns(times).with_columns(begun=_begun())
    edges = np.array(marks, np.int64) - window_us
    writing = _Sweep.of(placed, "wrote")
    written = pl.col("output") - pl.col("begun")
    wrote = _shared(
        placed.with_columns(steps=written.clip(0)), edges, ("wrote", "end"), writing.shared_at
    )
    read = _shared(placed.with_columns(steps="begun"), edges, ("start", "read"), writing.beside_at)
    return list(zip(wrote, read, strict=True))


def _shared(
    placed: pl.DataFrame, edges: Ints, leg: tuple[str, str], upto: Callable[[Ints, Ints], Ints]
) -> list[int]:
    """Steps between each two edges, spread over a time by shares of it."""
    since, until = (np.clip(placed[name].to_numpy(), edges[0], edges[-1]) for name in leg)
    first = np.searchsorted(edges, since, side="right") - 1
    final = np.searchsorted(edges, until, side="left") - 1
    last = edges.size - 2
    rows, cells = reached(np.clip(first, 0, last), np.clip(final, 0, last))
    engine = placed["engine"].to_numpy()[rows]
    shares = [
        upto(engine, np.clip(moment, since[rows], until[rows]))
        for moment in (edges[cells], edges[cells + 1])
    ]
    moved = placed[rows].with_columns(cell=pl.Series(cells), share=pl.Series(shares[1] - shares[0]))
    steps = _part((pl.col("steps") * pl.col("sign")).cast(pl.Int128), "share", *leg)
    summed = dict(moved.group_by("cell").agg(steps.sum().alias("steps")).iter_rows())
    return [max(summed.get(at, 0), 0) for at in range(edges.size - 1)]


@dataclass(frozen=True, slots=True)
class _Sweep:
    """How many run at each moment, engine after engine: edges in order, how many run from each on,
    and how much time was covered, how much was one's who ran all along, and how much one's who ran
    beside them all, up to it."""

    edges: Ints
    running: Ints
    covered: Ints
    shared: Ints
    beside: Ints

    @classmethod
    def of(cls, attempts: pl.DataFrame, since: str) -> "_Sweep":
        engine, sign = attempts["engine"].to_numpy(), attempts["sign"].to_numpy()
        ends = [np.clip(attempts[name].to_numpy(), 0, WINDOW_US) for name in (since, "end")]
        marks = np.concatenate([engine * _ENGINE + end for end in ends])
        order = np.argsort(marks, kind="stable")
        edges = np.concatenate([[-1], marks[order]])
        running = np.cumsum(np.concatenate([[0], np.concatenate([sign, -sign])[order]]))
        there = np.maximum(running, 0)
        every = np.diff(edges, append=edges[-1:])
        lengths = every * (there > 0)
        shares = (lengths << _SHARE_BITS) // np.maximum(there, 1)
        alone = (every << _SHARE_BITS) // (there + 1)
        return cls(edges, there, *(_before(each) for each in (lengths, shares, alone)))

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

    def beside_at(self, engine: Ints, moment: Ints) -> Ints:
        """The part of time, in 1/65536 µs, of one who ran beside all of these, up to a moment."""
        at, since = self._last(engine, moment)
        part: Ints = self.beside[at] + (since << _SHARE_BITS) // (self.running[at] + 1)
        return part

    def _last(self, engine: Ints, moment: Ints) -> tuple[Ints, Ints]:
        mark = engine * _ENGINE + moment
        at = np.searchsorted(self.edges, mark, side="right") - 1
        return at, mark - self.edges[at]


def _before(lengths: Ints) -> Ints:
    summed: Ints = np.cumsum(lengths) - lengths
    return summed


def _weighed(attempts: pl.DataFrame, weights: Weights, slot_us: int) -> pl.DataFrame:
    """What each usage key weighs in each slot in which it ran, and what of it what it read from a
    cache, wrote to one and answered does."""
    start, end = (np.clip(attempts[name].to_numpy(), 0, WINDOW_US) for name in ("start", "end"))
    rows, slots = reached(start // slot_us, (end - 1) // slot_us)
    wrote, read = (
        np.clip(attempts[name].to_numpy(), 0, WINDOW_US)[rows] for name in ("wrote", "read")
    )
    since = np.maximum(slots * slot_us, start[rows])
    until = np.minimum((slots + 1) * slot_us, end[rows])
    writing, engine = _Sweep.of(attempts, "wrote"), attempts["engine"].to_numpy()[rows]
    shared, beside = (
        np.diff([sweep(engine, moment) for moment in moments], axis=0)[0]
        for sweep, moments in (
            (writing.shared_at, [np.maximum(moment, wrote) for moment in (since, until)]),
            (writing.beside_at, [np.minimum(moment, read) for moment in (since, until)]),
        )
    )
    moved = _whole(attempts, weights)[rows].with_columns(
        pl.Series("slot", slots),
        pl.Series("since", since),
        pl.Series("until", until),
        pl.Series("shared", shared),
        pl.Series("beside", beside),
    )
    asking = _cut("asked", "start", "read") + _part(pl.col("begun"), "beside", "start", "read")
    answering = _cut("written", "wrote", "end") + _part(pl.col("stepped"), "shared", "wrote", "end")
    here = moved.with_columns(asking=asking * pl.col("sign"), output=answering * pl.col("sign"))
    cached = (
        (pl.col("asking") * pl.col(f"{name}_weight") // pl.col("asked")).fill_null(0).alias(name)
        for name in _CACHED
    )
    return (
        here.with_columns(*cached)
        .group_by("slot", "usage_key_id")
        .agg((pl.col("asking") + pl.col("output")).sum().alias("weight"), pl.col(*_SPLIT).sum())
    )


def _whole(attempts: pl.DataFrame, weights: Weights) -> pl.DataFrame:
    """What each attempt weighs in all: for what it asked and wrote, for the step that read its
    prompt, which also wrote its first token, and for the others it was in."""

    def of(name: str, weight: int) -> pl.Expr:
        return pl.col(name) * _wide(weight * _FINE)

    legs = attempts.with_columns(begun=_begun()).with_columns(
        asked=of("uncached", weights.uncached)
        + of("cache_read", weights.cache_read)
        + of("cache_write", weights.cache_write),
        cache_read_weight=of("cache_read", weights.cache_read),
        cache_write_weight=of("cache_write", weights.cache_write),
        written=of("output", weights.output)
        + of("output", weights.context) * pl.col("context") // 1_000,
        stepped=(pl.col("output") - pl.col("begun")).clip(0) * _wide(weights.step * _FINE),
        begun=of("begun", weights.step),
    )
    names = ("asked", "written", "stepped", "begun")
    most: int = legs.select(pl.max_horizontal(names).max()).item()
    coarser = 1 << max(most.bit_length() - _WEIGHT_BITS, 0)
    cached = (f"{name}_weight" for name in _CACHED)
    return legs.with_columns(pl.col(name) // _wide(coarser) for name in (*names, *cached))


def _begun() -> pl.Expr:
    """Whether it had a step that read its prompt. Without a first token it writes all along: all
    its steps are such."""
    asks = pl.any_horizontal(pl.col(name) > 0 for name in INPUT_METERS)
    return (asks & (pl.col("read") - pl.col("wrote") <= 1)).cast(pl.Int64)


def _part(whole: pl.Expr, share: str, since: str, until: str) -> pl.Expr:
    """What lies in the slot of what is spread over a time by shares of it."""
    length = (pl.col(until) - pl.col(since)) * _wide(1 << _SHARE_BITS)
    return whole * pl.col(share) // length


def _wide(number: int) -> pl.Expr:
    """A number of 128 bits, as what it is multiplied with becomes."""
    return pl.lit(number, pl.Int128)


def _cut(name: str, since: str, until: str) -> pl.Expr:
    """What lies in the slot of what is spread evenly between two moments."""
    first, length = pl.col(since), pl.col(until) - pl.col(since)
    at = [(pl.col(edge).clip(since, until) - first) for edge in ("until", "since")]
    upto = [pl.col(name) * edge // length for edge in at]
    return upto[0] - upto[1]


def _parts(heavy: pl.DataFrame) -> pl.DataFrame:
    total = pl.col("weight").sum().over("slot")
    return heavy.select("slot", "usage_key_id", part=pl.col("weight") * _wide(WHOLE) // total)


def _of_nobody(heavy: pl.DataFrame, covered: Ints) -> pl.DataFrame:
    lost = np.setdiff1d(np.flatnonzero(covered), heavy["slot"].to_numpy())
    nobody = {"usage_key_id": np.full(lost.size, NOBODY), "part": np.full(lost.size, WHOLE)}
    return pl.DataFrame({"slot": lost, **nobody}, _PART)


def _kinds(heavy: pl.DataFrame) -> pl.DataFrame:
    """What tokens of each kind of usage weigh of each slot, out of WHOLE."""
    sums = [pl.col(name).filter(OF_USAGE).sum() for name in ("weight", *_SPLIT)]
    slots = heavy.group_by("slot").agg(pl.col("weight").sum().alias("total"), *sums)
    split = (pl.col(name).clip(0) for name in _SPLIT)
    uncached = (pl.col("weight") - pl.sum_horizontal(_SPLIT)).clip(0)
    parts = slots.with_columns(*split, uncached=uncached)
    return parts.select("slot", *(pl.col(name) * _wide(WHOLE) // pl.col("total") for name in WORK))


def _tokens(placed: pl.DataFrame) -> Four:
    """How many tokens of usage lie in the window, in the order of WORK."""
    window = placed.filter(OF_USAGE).with_columns(
        *(pl.col(name).cast(pl.Int128) for name in WORK), since=0, until=WINDOW_US
    )
    legs = dict.fromkeys(INPUT_METERS, ("start", "read")) | {"output": ("wrote", "end")}
    counted = window.select(
        (_cut(name, *leg) * pl.col("sign")).sum().clip(0).alias(name) for name, leg in legs.items()
    )
    uncached, cache_read, cache_write, output = (int(count) for count in counted.row(0))
    return uncached, cache_read, cache_write, output
