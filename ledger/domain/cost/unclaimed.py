"""Finds tokens that engines counted and no request claims, and when they may have been worked on.

Invariant: what is found of a window is never more than its engines counted beyond all tokens of
every request that ran in it, whenever those were worked on.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import polars as pl

from ledger.domain.apportion import apportion
from ledger.domain.cost.attempt_rows import ATTEMPT
from ledger.domain.cost.cells import cells_of
from ledger.domain.metering.engine_counter import CounterDelta, CounterSample, counter_deltas
from ledger.domain.metering.reconcile import (
    CACHED,
    COMPUTED,
    INPUT,
    OUTPUT,
    STEPS,
    Counted,
    is_worked_on,
)
from ledger.domain.metering.spread import INPUT_METERS
from ledger.domain.metering.times import micros
from ledger.domain.period import Period

# Whose part is what no request claims; ids of usage keys are positive.
OF_NO_REQUEST = -1
COUNTED = (INPUT, OUTPUT, CACHED, COMPUTED, STEPS)
# Growth that is certain: what else is told may be of another process.
_CERTAIN = frozenset(("", "new_run", "start_moved"))
# No engine works on more between two scrapes: what says so counts something else.
_TOKENS_MOST = 10**12
# Attempts with the instance that served them.
SERVED = {**ATTEMPT, "instance": pl.String}


@dataclass(frozen=True, slots=True)
class Growth:
    """Tokens in and out that an engine counted between two of its scrapes, in microseconds since
    1970."""

    instance: str
    since: int
    until: int
    input: int
    output: int


def deltas_in(window: Period, samples: Iterable[CounterSample]) -> list[CounterDelta]:
    """What counters grew by between scrapes of one window.

    Only what was scraped in the window counts, so that a window allocated alone, or among others,
    comes to the same.
    """
    scraped = [each for each in samples if window.start <= each.scraped_at <= window.end]
    deltas = counter_deltas(scraped)
    return [each for each in deltas if window.start <= each.since < each.until]


def growth_of(deltas: Iterable[CounterDelta]) -> list[Growth]:
    """Tokens that engines counted, where that is certain."""
    counted: dict[tuple[str, int, int], Counted] = defaultdict(Counted)
    for delta in deltas:
        if is_certain(delta) and is_worked_on(delta):
            counted[_stretch(delta)].add(delta)
    grown = [
        Growth(*stretch, each.side(INPUT) or 0, each.side(OUTPUT) or 0)
        for stretch, each in sorted(counted.items())
    ]
    return [growth for growth in grown if growth.input or growth.output]


def is_certain(delta: CounterDelta) -> bool:
    """Whether a counter grew by this, and no other's."""
    return delta.flag in _CERTAIN and not delta.inexact and delta.delta <= _TOKENS_MOST


def _stretch(delta: CounterDelta) -> tuple[str, int, int]:
    return delta.instance, micros(delta.since), micros(delta.until)


def with_unclaimed(served: pl.DataFrame | None, grown: Sequence[Growth]) -> pl.DataFrame | None:
    """Attempts that a deployment served in a window, and beside them what its engines counted and
    none of these claims, under OF_NO_REQUEST.

    It lies where an engine counted more than ran on it just then. What is less than ran there was
    worked on beside that; what is more took all the time between two scrapes.
    """
    attempts = pl.DataFrame(schema=SERVED) if served is None else served
    claimed = _claimed(attempts)
    over = [max(sum(each.input for each in grown) - claimed[0], 0)]
    over.append(max(sum(each.output for each in grown) - claimed[1], 0))
    if not any(over):
        return served
    engines = {name: _Engine.of(attempts, name, grown) for name in {g.instance for g in grown}}
    ran = [engines[each.instance].between(each) for each in grown]
    parts = [
        _parts(over[side], [(each.input, each.output)[side] for each in grown], claimed_there)
        for side, claimed_there in enumerate(zip(*(here.tokens for here in ran), strict=True))
    ]
    rows = [
        row
        for each, here, *tokens in zip(grown, ran, *parts, strict=True)
        for row in _placed(each, here, (tokens[0], tokens[1]))
    ]
    beyond = pl.DataFrame(rows, SERVED, orient="row")
    return pl.concat([attempts.select(*SERVED), beyond])


_Tokens: TypeAlias = tuple[int, int]
_Spans: TypeAlias = Sequence[tuple[int, int]]


def _claimed(attempts: pl.DataFrame) -> _Tokens:
    """All tokens in and out of every attempt, whether or not they were worked on in the window."""
    sign = pl.col("sign").cast(pl.Int128)
    asked = pl.sum_horizontal(pl.col(name).cast(pl.Int128) for name in INPUT_METERS)
    written = pl.col("output").cast(pl.Int128)
    sums = attempts.select((asked * sign).sum().alias("in"), (written * sign).sum().alias("out"))
    return int(sums.item(0, "in") or 0), int(sums.item(0, "out") or 0)


def _parts(over: int, counted: Sequence[int], claimed: Sequence[int]) -> list[int]:
    """What is over by where more was counted than claimed."""
    beyond = [max(ours - theirs, 0) for ours, theirs in zip(counted, claimed, strict=True)]
    return apportion(over, beyond if any(beyond) else counted) if over else [0] * len(beyond)


@dataclass(frozen=True, slots=True)
class _Ran:
    """What attempts on an engine claim between two scrapes, and the times in which any ran."""

    tokens: _Tokens
    spans: _Spans


@dataclass(frozen=True, slots=True)
class _Engine:
    """What ran on one engine: tokens up to each of `marks`, and the times in which any ran, in
    order."""

    marks: Sequence[int]
    upto: Sequence[_Tokens]
    spans: _Spans

    @classmethod
    def of(cls, attempts: pl.DataFrame, instance: str, grown: Iterable[Growth]) -> "_Engine":
        """Of the attempts of a window, up to each scrape."""
        marks = sorted({at for g in grown if g.instance == instance for at in (g.since, g.until)})
        own = attempts.filter(pl.col("instance") == instance).with_columns(engine=pl.lit(0))
        cells = {row["cell"]: row for row in cells_of(own, marks).iter_rows(named=True)}
        upto = [(0, 0)]
        for number in range(len(marks) - 1):
            cell = cells.get(number, {"uncached": 0, "cache_read": 0, "output": 0})
            asked, written = upto[-1]
            upto.append((asked + cell["uncached"] + cell["cache_read"], written + cell["output"]))
        spans = own.filter(pl.col("sign") > 0).select("start", "end").sort("start").iter_rows()
        return cls(marks, upto, list(_merged(spans)))

    def between(self, growth: Growth) -> _Ran:
        """Of the time between two scrapes."""
        first, last = (bisect_left(self.marks, at) for at in (growth.since, growth.until))
        tokens = [b - a for a, b in zip(self.upto[first], self.upto[last], strict=True)]
        spans = [
            (max(since, growth.since), min(until, growth.until))
            for since, until in self.spans
            if since < growth.until and until > growth.since
        ]
        return _Ran((tokens[0], tokens[1]), spans)


def _merged(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Times that any of some spans covers; both in order of their starts."""
    since = until = 0
    for start, end in spans:
        if start > until:
            if since < until:
                yield since, until
            since = start
        until = max(until, end)
    if since < until:
        yield since, until


def _placed(growth: Growth, ran: _Ran, tokens: _Tokens) -> Iterator[tuple[object, ...]]:
    """Attempts of nobody that read and write all the while, as many tokens as this in all."""
    if not any(tokens):
        return
    beside = bool(ran.spans) and sum(tokens) <= sum(ran.tokens)
    spans = ran.spans if beside else [(growth.since, growth.until)]
    lengths = [until - since for since, until in spans]
    split = [apportion(side, lengths) for side in tokens]
    for (since, until), asked, written in zip(spans, *split, strict=True):
        said: Mapping[str, object] = {
            **{"engine_key_id": 0, "usage_key_id": OF_NO_REQUEST, "sign": 1, "context": 0},
            **{"start": since, "read": until, "wrote": since, "end": until},
            **{"uncached": asked, "cache_read": 0, "cache_write": 0, "output": written},
            "instance": growth.instance,
        }
        yield tuple(said[name] for name in SERVED)
