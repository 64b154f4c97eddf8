"""Turns attempts into the windows they were worked on in, in numbers of 128 bits.

Invariant: the rule is `apportion.cumulative_split`, written anew: what ingest spreads with is not
what proves it.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ledger.domain.arrays import Ints
from ledger.domain.compiled import compiled
from ledger.domain.metering.check.cells import WIDE, sum_exactly
from ledger.domain.metering.fact import Kind
from ledger.domain.period import WINDOW_SECONDS

_WINDOW_US = WINDOW_SECONDS * 1_000_000
_INPUT = ("uncached", "cache_read", "cache_write")
WORK = (*_INPUT, "output")
_KEYS = ("engine_key_id", "usage_key_id")
_CELL = (*_KEYS, "window_start")
_ATTEMPT = (*_KEYS, "start", "read", "wrote", "end", "sign", *WORK)
Column = Sequence[int] | Ints
Numbers = Ints | NDArray[np.object_]


def worked_windows(facts: pl.DataFrame) -> pl.DataFrame:
    """Signed work by engine key, usage key and window of each fact: input first, then output."""
    if not _fits(facts):
        return _spread_wide(_attempts(facts, WIDE))
    attempts = _attempts(facts, pl.Int64)
    rows = _count_windows(attempts)
    cells, work = np.empty((len(_CELL), rows), np.int64), np.zeros((len(WORK), rows), np.int64)
    _spread_fast(tuple(attempts[name].to_numpy() for name in _ATTEMPT), cells, work)
    spread = pl.DataFrame(dict(zip((*_CELL, *WORK), (*cells, *work), strict=True)))
    return sum_exactly([spread], _CELL, WORK)


def _spread_wide(attempts: pl.DataFrame) -> pl.DataFrame:
    """The same by Python's numbers, which know no end, and add up in 128 bits."""
    rows = _count_windows(attempts)
    cells, work = np.empty((len(_CELL), rows), object), np.zeros((len(WORK), rows), object)
    _spread([attempts[name].to_list() for name in _ATTEMPT], cells, work)
    columns = dict(zip((*_CELL, *WORK), (*cells.tolist(), *work.tolist()), strict=True))
    types = dict.fromkeys(_CELL, pl.Int64) | dict.fromkeys(WORK, WIDE)
    return pl.DataFrame(columns, schema=types).group_by(*_CELL).agg(pl.sum(*WORK))


def _count_windows(attempts: pl.DataFrame) -> int:
    """How many windows all of these reached, each while it read and while it wrote."""
    legs = [
        pl.max_horizontal(since, pl.col(until) - 1) // _WINDOW_US - pl.col(since) // _WINDOW_US
        for since, until in (("start", "read"), ("wrote", "end"))
    ]
    return int(attempts.select((legs[0] + legs[1] + 2).sum()).item())


def _fits(facts: pl.DataFrame) -> bool:
    """Whether neither a sum of counts nor a count times microseconds can wrap in 64 bits."""
    if not facts.height:
        return True
    counts = facts.select(*_INPUT, "visible", "reasoning")
    edges = counts.min().row(0) + counts.max().row(0)
    times = facts.select("time", "started_at", "first_token_at", "ended_at")
    moments = [at for at in times.min().row(0) + times.max().row(0) if at is not None]
    # An output is two counts.
    most = 2 * max(abs(int(edge)) for edge in edges)
    reached = max(moments) - min(moments) + _WINDOW_US
    return bool(most * max(reached, facts.height) < 2**63)


def _attempts(facts: pl.DataFrame, bits: type[pl.Int64 | pl.Int128]) -> pl.DataFrame:
    """When each began, had read, began to write and ended, and what it did, without its sign."""
    sign = pl.when(pl.col("kind") == int(Kind.REVERSAL)).then(-1).otherwise(1).cast(bits)
    known = pl.col("started_at").is_not_null()
    end = pl.when(known).then(pl.coalesce("ended_at", "time")).otherwise("time")
    attempts = facts.select(
        *_KEYS,
        *(pl.col(name).cast(bits) * sign for name in _INPUT),
        output=(pl.col("visible").cast(bits) + pl.col("reasoning").cast(bits)) * sign,
        sign=sign,
        end=end,
        start=pl.min_horizontal(pl.coalesce("started_at", "time"), end),
        first=pl.when(known).then("first_token_at"),
    )
    inside = (pl.col("start") <= pl.col("first")) & (pl.col("first") <= pl.col("end"))
    return attempts.with_columns(
        read=pl.when(inside).then("first").otherwise("end"),
        wrote=pl.when(inside).then("first").otherwise("start"),
    )


def _spread(attempts: Sequence[Column], cells: Numbers, work: Numbers) -> None:
    """Each window that an attempt reached, and what it did there: of an empty span all at its
    start."""
    engines, usages, starts, reads, wrotes, ends, signs = attempts[:7]
    counts = attempts[7:]
    at = 0
    for n in range(len(signs)):
        for leg in range(2):
            since, until = (starts[n], reads[n]) if leg == 0 else (wrotes[n], ends[n])
            length = until - since
            first, last = since // _WINDOW_US, max(since, until - 1) // _WINDOW_US
            for window in range(first, last + 1):
                cells[0, at], cells[1, at] = engines[n], usages[n]
                cells[2, at] = window * _WINDOW_US
                begun = max(window * _WINDOW_US - since, 0)
                done = min((window + 1) * _WINDOW_US - since, length)
                for which in range(0 if leg == 0 else 3, 3 if leg == 0 else 4):
                    count = counts[which][n]
                    if length > 0:
                        count = count * done // length - count * begun // length
                    work[which, at] = count * signs[n]
                at += 1


_spread_fast = compiled(_spread)
