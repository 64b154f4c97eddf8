"""Puts what ran on engines into stretches of time, whatever their edges: what a fit goes by.

Invariant: over all stretches the parts of an attempt come to what it asked and wrote in them.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl

from ledger.domain.arrays import Ints
from ledger.domain.metering.spread import reached

# Of uncached tokens, those written to a cache as well; `context` is output times what it looked
# back on. `covered_us` is time in which anything ran, of all engines added up.
CELL = {
    "cell": pl.Int64,
    **dict.fromkeys(("uncached", "cache_read", "output", "context", "covered_us"), pl.Int128),
}
_WORK = ("uncached", "cache_read", "output", "context")


def cells_of(attempts: pl.DataFrame, edges: Sequence[int]) -> pl.DataFrame:
    """What lies between each two of sorted `edges` (microseconds), where anything does.

    A frame as `attempts.ATTEMPT` has it and `engine`, which tells engines apart.
    """
    marks = np.array(edges, np.int64)
    ran = attempts.filter((pl.col("end") > int(marks[0])) & (pl.col("start") < int(marks[-1])))
    if ran.is_empty():
        return pl.DataFrame(schema=CELL)
    work = _worked(ran, marks).group_by("cell").agg(pl.col(name).sum() for name in _WORK)
    covered = _covered(ran, marks)
    cells = pl.DataFrame({"cell": np.arange(marks.size - 1), "covered_us": covered})
    return cells.join(work, on="cell").select(pl.col(n).cast(kind) for n, kind in CELL.items())


def _worked(ran: pl.DataFrame, marks: Ints) -> pl.DataFrame:
    """The part of each attempt in each stretch that it runs in."""
    last = marks.size - 2
    first = np.searchsorted(marks, ran["start"].to_numpy(), side="right") - 1
    final = np.searchsorted(marks, ran["end"].to_numpy(), side="left") - 1
    rows, cells = reached(np.clip(first, 0, last), np.clip(final, 0, last))
    asked = pl.col("uncached") + pl.col("cache_write")
    wide = ran[rows].with_columns(
        pl.Series("cell", cells),
        pl.Series("since", marks[cells]),
        pl.Series("until", marks[cells + 1]),
        uncached=asked,
        context=pl.col("output").cast(pl.Int128) * pl.col("context"),
    )
    reading, writing = ("start", "read"), ("wrote", "end")
    return wide.select(
        "cell",
        *(_cut(name, *reading) for name in ("uncached", "cache_read")),
        *(_cut(name, *writing) for name in ("output", "context")),
    )


def _cut(name: str, since: str, until: str) -> pl.Expr:
    """What lies in a stretch of what is spread evenly between two moments, with its sign."""
    first, length = pl.col(since), pl.col(until) - pl.col(since)
    at = [pl.col(edge).clip(first, pl.col(until)) - first for edge in ("until", "since")]
    whole = pl.col(name).cast(pl.Int128)
    upto = [whole * edge // length for edge in at]
    return ((upto[0] - upto[1]) * pl.col("sign")).alias(name)


def _covered(ran: pl.DataFrame, marks: Ints) -> Ints:
    """How long anything ran in each stretch, of all engines added up."""
    covered = np.zeros(marks.size - 1, np.int64)
    for engine in ran["engine"].unique().sort():
        of_engine = ran.filter(pl.col("engine") == engine).sort("start")
        start, end = (of_engine[name].to_numpy() for name in ("start", "end"))
        reach = np.maximum.accumulate(end)
        opens = np.concatenate([[True], start[1:] > reach[:-1]])
        since, until = start[opens], reach[np.concatenate([opens[1:], [True]])]
        lengths = until - since
        before = np.cumsum(lengths) - lengths
        at = np.searchsorted(since, marks, side="right") - 1
        there = np.maximum(at, 0)
        upto = before[there] + np.minimum(marks - since[there], lengths[there])
        covered += np.diff(np.where(at < 0, 0, upto))
    return covered
